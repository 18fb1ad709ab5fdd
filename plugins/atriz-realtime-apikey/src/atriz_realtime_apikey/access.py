"""Authentication with keys, and the authorization of their users."""

from __future__ import annotations

from types import MappingProxyType

import attrs

from atriz_realtime.api import AuthenticationRejected, Clock, Credentials, EntityRef, Identity
from atriz_realtime_apikey.keys import KEY_FORM, NO_HASH, PREFIX, Action, ApiKey, hash_matches
from atriz_realtime_apikey.ring import KeyRing

NAME = "apikey"

_SCHEMES = frozenset({"apikey", "bearer"})


@attrs.frozen(kw_only=True)
class KeyIdentity(Identity):
    """The identity of a caller that authenticated with a key."""

    key: ApiKey = attrs.field(repr=False)
    """The key as it was at that time."""
    ring: KeyRing = attrs.field(repr=False, eq=False)
    """Looks the key up again, so that its revocation reaches open sockets."""

    async def current(self) -> ApiKey | None:
        """The key as it is now; ``None`` when it has expired, is gone, or has another secret."""
        key = await self.ring.find_valid(self.key.id)
        return key if key is not None and key.hash == self.key.hash else None

    async def may(self, action: Action, entity: EntityRef) -> bool:
        """Whether the key's current scopes allow an action on an entity."""
        key = await self.current()
        return key is not None and key.may(action, entity)


@attrs.frozen(eq=False)
class KeyAuthenticator:
    """Authenticates callers by their keys."""

    _ring: KeyRing
    _clock: Clock

    async def authenticate(self, credentials: Credentials) -> KeyIdentity | None:
        """The identity of a key's user; ``None`` when the credentials contain no key.

        :raises AuthenticationRejected: for a key that is not valid.
        :raises Unavailable: when Redis is away and the key is not in the cache.
        """
        offered = offered_key(credentials)
        if offered is None:
            return None
        form = KEY_FORM.fullmatch(offered)
        if form is None:
            raise AuthenticationRejected("the API key is malformed")
        key_id = form["id"]
        key = await self._ring.find(key_id)
        # an unknown id takes the same steps as a wrong secret, and gets the same answer
        matches = hash_matches(offered, NO_HASH if key is None else key.hash)
        if key is None:
            raise AuthenticationRejected(f"there is no key {key_id}")
        if not matches:
            raise AuthenticationRejected(f"wrong secret for key {key_id}")
        if key.expired(self._clock.now()):
            raise AuthenticationRejected(f"key {key_id} has expired")
        return KeyIdentity(
            user_id=key.user,
            claims=MappingProxyType(
                {
                    "apiKey": key.id,
                    "label": key.label,
                    "publish": list(key.publish),
                    "track": list(key.track),
                }
            ),
            authenticator=NAME,
            expires_at=None if key.expires is None else key.expires.timestamp(),
            key=key,
            ring=self._ring,
        )


def offered_key(credentials: Credentials) -> str | None:
    """The first key in ``auth.apiKey``, ``X-API-Key``, ``Authorization`` and the token."""
    scheme, _, value = credentials.headers.get("authorization", "").partition(" ")
    for candidate in (
        credentials.auth.get("apiKey"),
        credentials.headers.get("x-api-key"),
        value if scheme.lower() in _SCHEMES else None,
        credentials.token,
    ):
        if isinstance(candidate, str) and candidate.strip().startswith(PREFIX):
            return candidate.strip()
    return None


async def still_holds(identity: Identity) -> bool:
    """Whether the key of a connected socket is still valid.

    :raises Unavailable: when Redis is away; the socket then stays connected.
    """
    return not isinstance(identity, KeyIdentity) or await identity.current() is not None


async def may_publish(identity: Identity, entity: EntityRef) -> bool:
    """Whether a key allows its user to publish an entity; true for callers without a key."""
    return not isinstance(identity, KeyIdentity) or await identity.may("publish", entity)


async def may_track(identity: Identity, entity: EntityRef) -> bool:
    """Whether a key allows its user to track an entity; true for callers without a key."""
    return not isinstance(identity, KeyIdentity) or await identity.may("track", entity)
