"""Summaries that stand for what came before, sealed: only Jan reads them, and only for their owner.

A client keeps the item and gives it back as input, where it is opened for the model. The seal is of
no use to anybody else: it is bound to the project and the owner, and altered it does not open.
"""

import base64
import binascii
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from jan import ids, keyring
from jan.caller import Caller
from jan.conversations import items
from jan.conversations.items import Item
from jan.errors import InvalidRequest

KIND = "compaction"
PURPOSE = "responses, compaction"
NONCE_BYTES = 12
"""Source: NIST SP 800-38D, section 8.2.2: of random ones, billions may be made with one key."""

INTRODUCTION = "This is a summary of our conversation so far, in place of what is no longer in it:"


class Seal:
    """Closes and opens summaries. The key is the same in all processes, and never changes."""

    def __init__(self, api_key_secret: str) -> None:
        self._cipher = AESGCM(keyring.derive(api_key_secret, PURPOSE))

    def close(self, caller: Caller, summary: str) -> Item:
        """Make the item that only its owner can use, in the same project.

        Raises:
            InvalidRequest: it would be nobody's.
        """
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, summary.encode(), _owner(caller))
        content = base64.urlsafe_b64encode(sealed).decode()
        return {"id": ids.new("cmp"), "type": KIND, "encrypted_content": content}

    def opened(self, caller: Caller, said: Sequence[Item], place: str) -> list[Item]:
        """Put what the model is to read in the place of sealed summaries.

        Raises:
            InvalidRequest: one is somebody else's, or broken. `param` names it by its index in
                `place`.
        """
        return [
            _told(self._open(caller, item, f"{place}[{index}].encrypted_content"))
            if items.type_of(item) == KIND
            else item
            for index, item in enumerate(said)
        ]

    def _open(self, caller: Caller, item: Item, param: str) -> str:
        try:
            sealed = base64.urlsafe_b64decode(item["encrypted_content"])
            nonce, content = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
            return self._cipher.decrypt(nonce, content, _owner(caller)).decode()
        except (KeyError, TypeError, AttributeError, ValueError, binascii.Error, InvalidTag):
            raise InvalidRequest(
                f"`{param}` can't be read: it was made by another server or for somebody else, or"
                " was altered.",
                param=param,
            ) from None


def _owner(caller: Caller) -> bytes:
    return "/".join(caller.require_place()).encode()


def _told(summary: str) -> Item:
    return items.said_by_user(f"{INTRODUCTION}\n\n{summary}")
