"""API keys of providers: sealed while they lie in the database, and bound to where they go.

Who can write to the tables, and no more, must not be able to have a key sent to a server of theirs:
a key is read for a URL only if it was given for one of the same origin.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from jan.seal import Broken, Seal

PURPOSE = b"jan provider, credentials"


class _Sealed(msgspec.Struct):
    id: str
    origins: list[str]
    api_key: str


class ProviderKeys:
    """Seals and reads them."""

    def __init__(self, api_key_secret: str) -> None:
        self._seal = Seal(api_key_secret, PURPOSE)

    def close(self, provider_id: str, urls: Iterable[str], api_key: str) -> str:
        """Seal a key, for the endpoints of a provider. Another endpoint means to seal it anew."""
        origins = sorted({origin_of(url) for url in urls})
        return self._seal.close(msgspec.json.encode(_Sealed(provider_id, origins, api_key)))

    def read(self, provider_id: str, sealed: str) -> str:
        """Read a key, to seal it anew.

        Raises:
            Broken: it was sealed with another secret, or for another provider.
        """
        return self._open(provider_id, sealed).api_key

    def read_for(self, provider_id: str, sealed: str, url: str) -> str:
        """Read a key, to send it to an endpoint. For the connection to it alone.

        Raises:
            Broken: as `read`; or it was not given for such a URL.
        """
        opened = self._open(provider_id, sealed)
        if origin_of(url) not in opened.origins:
            raise Broken
        return opened.api_key

    def _open(self, provider_id: str, sealed: str) -> _Sealed:
        opened = msgspec.json.decode(self._seal.open(sealed), type=_Sealed)
        if opened.id != provider_id:
            raise Broken
        return opened


def origin_of(url: str) -> str:
    """Name whom a URL leads to."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()
