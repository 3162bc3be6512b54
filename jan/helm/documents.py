"""YAML as Helm reads and writes it: values, and manifests one after another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from jan.errors import Misconfigured

TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Reads what looks like a date as text, as Kubernetes does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != TIMESTAMP]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.SafeDumper):
    """Writes lists indented, and text of several lines as it is."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def parse(text: str, *, origin: str) -> list[Any]:
    """Read all documents that are not empty. Whole numbers are whole, whichever way they are said.

    Raises:
        Misconfigured: it is no YAML.
    """
    try:
        found = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        words = getattr(error, "problem", None) or "it can't be read"
        raise Misconfigured(f"{origin}{line} is no YAML: {words}.") from None
    return [_whole(document) for document in found if document is not None]


def one(path: Path) -> dict[str, Any]:
    """Read a file that is one table. An empty one is an empty table.

    Raises:
        Misconfigured: it can't be read, or is something else.
    """
    try:
        found = parse(path.read_text(encoding="utf-8"), origin=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"Can't read {path}: {error}.") from None
    if len(found) > 1 or (found and not isinstance(found[0], dict)):
        raise Misconfigured(f"{path} is not one table of keys and values.")
    return found[0] if found else {}


def write(value: Any, *, is_sorted: bool = False) -> str:
    """Write a document, without the line that separates it from others."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=is_sorted, allow_unicode=True, width=1000)


def at(values: Mapping[str, Any], path: str) -> Any:
    """Tell what is at a place such as `gateway.replicas`. None: nothing."""
    found: Any = values
    for key in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def _whole(value: Any) -> Any:
    """Go has one kind of number in values, and writes 30.0 as 30."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
