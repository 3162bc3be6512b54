"""What clients attach to objects: a few short texts. Source: OpenAI's `Metadata`."""

from jan.errors import InvalidRequest

Metadata = dict[str, str]

MAX_ENTRIES = 16
MAX_KEY_LENGTH = 64
MAX_VALUE_LENGTH = 512


def check(metadata: Metadata | None) -> Metadata:
    """Give what is attached; nothing, where nothing was said.

    Raises:
        InvalidRequest: there is too much of it; `param` names what is too long.
    """
    metadata = metadata or {}
    if len(metadata) > MAX_ENTRIES:
        raise InvalidRequest(
            f"`metadata` has {len(metadata)} entries, of {MAX_ENTRIES} at most.", param="metadata"
        )
    for key, value in metadata.items():
        if len(key) > MAX_KEY_LENGTH:
            raise InvalidRequest(
                f"A key of `metadata` has {len(key)} characters, of {MAX_KEY_LENGTH} at most.",
                param="metadata",
            )
        if len(value) > MAX_VALUE_LENGTH:
            raise InvalidRequest(
                f"`metadata.{key}` has {len(value)} characters, of {MAX_VALUE_LENGTH} at most.",
                param=f"metadata.{key}",
            )
    return metadata
