"""Headers of tokens that PyJWT has accepted: those of one issuer are equal."""

from __future__ import annotations

import base64
from typing import Any

from jwt import PyJWS

MAX_ACCEPTED = 64
"""Headers that are remembered; beyond, the one that was accepted first is parsed again."""


class AcceptedHeaders(PyJWS):
    """PyJWT's check of signatures, which does not parse a header again that it has accepted.

    PyJWT decodes the parts of each token character by character.  Here a part is decoded at once,
    and compared with what it must look like; one that looks different is PyJWT's to judge.
    """

    def __init__(self) -> None:
        super().__init__()
        self._accepted: dict[str, dict[str, Any]] = {}

    def decode_complete(self, jwt: str | bytes, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Verify a token; returns its ``payload``, ``header`` and ``signature``."""
        complete = super().decode_complete(jwt, *arguments, **options)
        fields = complete["header"]
        if isinstance(jwt, str) and "b64" not in fields:
            header = jwt.partition(".")[0]
            if header not in self._accepted:
                if len(self._accepted) >= MAX_ACCEPTED:
                    del self._accepted[next(iter(self._accepted))]
                self._accepted[header] = fields
        return complete

    def _load(self, jwt: str | bytes) -> tuple[bytes, bytes, dict[str, Any], bytes]:
        """Split a token; returns its payload, what is signed, its header and its signature."""
        if isinstance(jwt, str) and jwt.count(".") == 2:  # three parts
            header, payload, signature = jwt.split(".")
            fields = self._accepted.get(header)
            if fields is not None:
                content, mac = decoded(payload), decoded(signature)
                if content is not None and mac is not None:
                    return content, f"{header}.{payload}".encode(), fields, mac
        return super()._load(jwt)


def decoded(segment: str) -> bytes | None:
    """What a part of a token holds; ``None`` when it is not written as it should be."""
    try:
        content = base64.urlsafe_b64decode(segment + "==")
    except ValueError:
        return None
    written = base64.urlsafe_b64encode(content).rstrip(b"=")
    return content if written.decode() == segment else None


def is_utf8(token: str) -> bool:
    """Whether the header of a decoded token is JSON in UTF-8, without a byte order mark.

    PyJWT reads headers with Python's ``json``, which accepts UTF-16 and UTF-32 as well; RFC 8725,
    section 3.7, forbids them.  Both contain zero bytes; JSON in UTF-8 contains none.
    """
    if token.startswith("eyJ"):  # {" in one byte each, as in nearly every token
        return True
    text = base64.urlsafe_b64decode(token.partition(".")[0] + "==")
    return b"\0" not in text and text.lstrip(b" \t\r\n").startswith(b"{")
