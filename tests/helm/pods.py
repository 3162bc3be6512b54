"""What a rendered pod would start: its container's environment and files, in a folder of ours."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jan import settings
from jan.settings import Settings

Objects = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Container:
    """One, with what it would find."""

    arguments: list[str]
    environ: dict[str, str]
    root: Path
    mounts: list[str]

    def settings(self) -> Settings:
        """Load what it would load."""
        return settings.load(environ=self.environ).settings


def find(objects: Objects, kind: str, name: str) -> Mapping[str, Any]:
    """Find an object."""
    [found] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def container(
    objects: Objects, maker: Mapping[str, Any], root: Path, *, is_apart: bool = False
) -> Container:
    """Make the files of a pod's container below `root`. Secrets are among the objects.

    Paths lead below `root`, unless the container is apart from us and sees its files where they are
    to be.
    """
    seen_at = "" if is_apart else str(root)
    pod = maker["spec"]["template"]["spec"]
    said = pod["containers"][0]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in said["volumeMounts"]:
        folder = root / mount["mountPath"].lstrip("/")
        folder.mkdir(parents=True)
        for name, text in _files(objects, volumes.get(mount["name"], {})).items():
            (folder / name).write_text(text.replace('"/etc/jan/', f'"{seen_at}/etc/jan/'))
    environ = {each["name"]: value(objects, each) for each in said["env"]}
    return Container(
        [*said["command"], *said["args"]],
        {
            name: f"{seen_at}{value}" if value.startswith("/") else value
            for name, value in environ.items()
        },
        root,
        [mount["mountPath"] for mount in said["volumeMounts"]],
    )


def _files(objects: Objects, volume: Mapping[str, Any]) -> Mapping[str, str]:
    if "configMap" in volume:
        return find(objects, "ConfigMap", volume["configMap"]["name"])["data"]
    if "projected" in volume:
        return {
            item["path"]: _secret(objects, source["secret"]["name"], item["key"])
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
    if "secret" in volume:
        name = volume["secret"]["secretName"]
        return {
            each["path"]: _secret(objects, name, each["key"]) for each in volume["secret"]["items"]
        }
    return {}


def value(objects: Objects, variable: Mapping[str, Any]) -> str:
    """Tell what a variable of a container holds."""
    if "value" in variable:
        return variable["value"]
    named = variable["valueFrom"]["secretKeyRef"]
    return _secret(objects, named["name"], named["key"])


def _secret(objects: Objects, name: str, key: str) -> str:
    found = find(objects, "Secret", name)
    if key in found.get("stringData", {}):
        return found["stringData"][key]
    return base64.b64decode(found["data"][key]).decode()
