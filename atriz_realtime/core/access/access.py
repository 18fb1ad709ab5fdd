"""Who a caller is, and what they may do: the authenticators and authorizers, asked in order."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import attrs

from atriz_realtime.api.errors import (
    AuthenticationRejected,
    NotAuthenticated,
    NotAuthorized,
    PluginFailed,
    RealtimeError,
)
from atriz_realtime.api.model import Credentials, EntityRef, Identity
from atriz_realtime.api.wire import event_json
from atriz_realtime.core.access.auth_backoff import AuthBackoff
from atriz_realtime.core.hub.views import Views
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.plugin_system.registry import Registry

Rule = Callable[[Identity, EntityRef], Awaitable[bool]]


class AccessControl:
    """See :class:`~atriz_realtime.api.Access`."""

    def __init__(
        self,
        registry: Registry,
        plugin_runner: PluginRunner,
        incidents: Incidents,
        views: Views | None = None,
        attempts: AuthBackoff | None = None,
    ) -> None:
        self._attempts = attempts
        self._plugin_runner = plugin_runner
        self._incidents = incidents
        self._authenticators = [
            (registry.owner(record), record) for record in registry.authenticators
        ]
        self._still_holds = {
            record.name: (registry.owner(record), record.still_holds)
            for record in registry.authenticators
            if record.still_holds is not None
        }
        self._views = views
        self.guards: list[Callable[[Identity], bool]] = []
        self._may_track: list[tuple[str, str, Rule]] = []
        self._may_publish: list[tuple[str, str, Rule]] = []
        for record in registry.authorizers:
            plugin, what = registry.owner(record), f"authorizer {record.name!r}"
            if record.may_track is not None:
                self._may_track.append((plugin, what, record.may_track))
            if record.may_publish is not None:
                self._may_publish.append((plugin, what, record.may_publish))

    async def authenticate(
        self, credentials: Credentials, *, narrow: bool = False, known: bool = False
    ) -> Identity:
        """Ask the authenticators in order until one knows the caller.

        :param narrow: whether who is good for one entity only is let in.
        :param known: whether it is authenticated already, and may renew its token whatever
            else fails at its address.
        :raises AuthenticationRejected: when one refuses, or fails.
        :raises NotAuthenticated: when all abstain.
        :raises NotAuthorized: when it is good for one entity only, and that is not enough.
        :raises RateLimited: when too many have failed from the caller's address.
        """
        attempts = self._attempts
        if attempts is not None and credentials.token is not None and not known:
            attempts.check(credentials.address)
        for plugin, authenticator in self._authenticators:
            what = f"authenticator {authenticator.name!r}"
            try:
                if authenticator.at_once is not None:
                    identity = self._plugin_runner.call(
                        plugin, what, authenticator.at_once, credentials
                    )
                else:
                    identity = await self._plugin_runner.run(
                        plugin, what, authenticator.authenticate(credentials)
                    )
            except AuthenticationRejected as refusal:
                self._incidents.report(
                    "refused credentials", f"{what}: {refusal.reason}", level=logging.INFO
                )
                if attempts is not None and attempts.failed(credentials.address):
                    self._incidents.report(
                        "address refused", f"{credentials.address}: too many failed to authenticate"
                    )
                raise
            except PluginFailed as error:
                raise AuthenticationRejected("the authenticator failed") from error
            if identity is not None:
                if self.guards and not self.is_accepted(identity):
                    self._incidents.report("refused credentials", "revoked", level=logging.INFO)
                    raise AuthenticationRejected("revoked")
                if attempts is not None:
                    attempts.succeeded(credentials.address)
                if identity.only is not None and not narrow:
                    raise NotAuthorized
                if identity.authenticator == authenticator.name:
                    return identity
                return attrs.evolve(identity, authenticator=authenticator.name)
        raise NotAuthenticated

    def is_accepted(self, identity: Identity) -> bool:
        """Whether every guard accepts an identity; one that fails does not."""
        try:
            for holds in self.guards:  # no generator: it is asked for every fix
                if not holds(identity):
                    return False
        except Exception as error:  # a plugin's
            self._incidents.report("guard failed", type(error).__name__)
            return False
        return True

    @property
    def can_recheck(self) -> bool:
        """Whether an authenticator can say that an identity no longer holds."""
        return bool(self._still_holds)

    async def still_holds(self, identity: Identity) -> bool:
        """Whether nobody says that an identity no longer holds.

        One whose authenticator fails stays good: what is new, the authenticators and
        authorizers decide, and an outage must not send everybody away.
        """
        plugin, still_holds = self._still_holds.get(identity.authenticator, ("", None))
        if still_holds is None:
            return True
        what = f"authenticator {identity.authenticator!r}"
        try:
            return await self._plugin_runner.run(plugin, what, still_holds(identity))
        except RealtimeError:  # failures are counted by the plugin_runner
            return True

    @property
    def authorizes(self) -> bool:
        """Whether some authorizer has a say in who watches what."""
        return bool(self._may_track)

    async def may_track(self, identity: Identity, entity: EntityRef) -> bool:
        """Whether every authorizer lets this identity watch this entity."""
        if identity.only is not None:
            return identity.only == entity
        return not self._may_track or await self._all(self._may_track, identity, entity)

    async def may_publish(self, identity: Identity, entity: EntityRef) -> bool:
        """Whether every authorizer lets this identity publish this entity."""
        if identity.only is not None:
            return False
        return not self._may_publish or await self._all(self._may_publish, identity, entity)

    async def shown(self, identity: Identity, entity: EntityRef, location: bytes) -> bytes | None:
        """The location JSON as this identity sees it; ``None`` when a view hides it."""
        if self._views is None:
            return location
        chain = await self._views.chain(identity, entity)
        if not chain:
            return location
        seen = self._views.rendered(event_json(entity, location)).payload(chain)
        return None if seen is None else seen.location

    async def sees_no_more(self, identity: Identity, than: Identity, entity: EntityRef) -> bool:
        """Whether each view that keeps something of an entity from another keeps it from this."""
        if self._views is None:
            return True
        kept = await self._views.chain(than, entity)
        return set(kept) <= set(await self._views.chain(identity, entity))

    async def _all(
        self, rules: list[tuple[str, str, Rule]], identity: Identity, entity: EntityRef
    ) -> bool:
        for plugin, what, rule in rules:
            try:
                if not await self._plugin_runner.run(plugin, what, rule(identity, entity)):
                    return False
            except RealtimeError:  # failures are counted; what a rule says stays here
                return False
        return True
