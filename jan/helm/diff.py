"""What differs between two sets of manifests, for a person. No value of a Secret is ever in it."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jan.helm import documents
from jan.helm.rendering import HOOK

HIDDEN = "***"


def is_manifests(found: Iterable[Any]) -> bool:
    """Whether documents are objects of Kubernetes, rather than values."""
    return any(isinstance(each, Mapping) and "kind" in each for each in found)


def objects(found: Iterable[Any]) -> list[dict[str, Any]]:
    """Objects, those in lists (`kubectl get`) among them."""
    flat: list[dict[str, Any]] = []
    for each in found:
        if isinstance(each, dict) and each.get("kind", "").endswith("List"):
            flat += objects(each.get("items") or [])
        elif isinstance(each, dict) and "kind" in each:
            flat.append(each)
    return flat


def has_hooks(found: Iterable[Mapping[str, Any]]) -> bool:
    """Whether there are some, as a chart renders them; in a cluster helm keeps none."""
    return any(map(_is_hook, found))


def compare(old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]) -> list[str]:
    """Tell it in lines as `diff -u` has them, object by object. None: they are the same.

    Where the old ones come out of a cluster, what it has added to them is not looked at; where they
    have no hooks, as in `helm get manifest`, hooks of the new ones are not either.
    """
    before = {_name(each): each for each in old}
    with_hooks = has_hooks(before.values())
    after = {_name(each): each for each in new if with_hooks or not _is_hook(each)}
    return [
        line
        for name in sorted({*before, *after})
        for line in _lines(name, before.get(name), after.get(name))
    ]


def _lines(
    name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> Iterator[str]:
    if old is not None and new is not None and "uid" in old["metadata"]:
        old = _as_far_as(old, new)
    yield from difflib.unified_diff(
        _written(old),
        _written(new),
        f"{name} (old)" if old is not None else "/dev/null",
        f"{name} (new)" if new is not None else "/dev/null",
        lineterm="",
    )


def _written(thing: Mapping[str, Any] | None) -> list[str]:
    if thing is None:
        return []
    shown = dict(thing)
    if shown["kind"] == "Secret":
        for field in ("data", "stringData"):
            if shown.get(field):
                shown[field] = dict.fromkeys(shown[field], HIDDEN)
    return documents.write(shown, is_sorted=True).splitlines()


def _as_far_as(there: Any, said: Any) -> Any:
    """Leave of what is there only what is said of, too."""
    if isinstance(there, Mapping) and isinstance(said, Mapping):
        return {key: _as_far_as(there[key], said[key]) for key in there if key in said}
    if isinstance(there, list) and isinstance(said, list) and len(there) == len(said):
        return [_as_far_as(*pair) for pair in zip(there, said, strict=True)]
    return there


def _name(thing: Mapping[str, Any]) -> str:
    group = thing.get("apiVersion", "").rpartition("/")[0]
    kind = thing["kind"] + (f".{group}" if group else "")
    return f"{kind} {thing['metadata']['name']}"


def _is_hook(thing: Mapping[str, Any]) -> bool:
    return HOOK in (thing["metadata"].get("annotations") or {})
