"""Authentication and authorization: asks the authenticators and authorizers in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import (
    AuthenticationRejected,
    NotAuthenticated,
    NotAuthorized,
    PluginFailed,
    RateLimited,
    RealtimeError,
)
from atriz_realtime.api.model import Credentials, EntityRef, Identity
from atriz_realtime.api.wire import event_json
from atriz_realtime.core.access.auth_backoff import AuthBackoff
from atriz_realtime.core.hub.views import RenderedViews, Views
from atriz_realtime.core.runtime.incidents import Incidents, explained
from atriz_realtime.core.runtime.plugin_runner import PluginRunner, awaiting
from atriz_realtime.engine.request.errors import by
from atriz_realtime.plugin_system.registry import Registry
from atriz_realtime.plugin_system.signatures import check_plain, full_name

Rule = Callable[[Identity, EntityRef], Awaitable[bool]]


class AccessControl:
    """See :class:`~atriz_realtime.api.Access`.

    :param views: what restricts how callers see entities; ``None``: nothing does.
    :param backoff: delays addresses that fail to authenticate; ``None``: none is delayed.
    """

    def __init__(
        self,
        registry: Registry,
        plugin_runner: PluginRunner,
        incidents: Incidents,
        clock: Clock,
        views: Views | None = None,
        backoff: AuthBackoff | None = None,
    ) -> None:
        self._views = views
        self._backoff = backoff
        self._plugin_runner = plugin_runner
        self._incidents = incidents
        self._clock = clock
        self._authenticators = [
            (
                registry.owner(record),
                f"authenticator {record.name!r}",
                record.name,
                record.at_once,
                awaiting(record.authenticate),
            )
            for record in registry.authenticators
        ]
        self._still_holds = {
            record.name: (registry.owner(record), awaiting(record.still_holds))
            for record in registry.authenticators
            if record.still_holds is not None
        }
        self._guards: list[Callable[[Identity], bool]] = []
        self._may_track: list[tuple[str, str, Rule]] = []
        self._may_publish: list[tuple[str, str, Rule]] = []
        for record in registry.authorizers:
            plugin, what = registry.owner(record), f"authorizer {record.name!r}"
            if record.may_track is not None:
                self._may_track.append((plugin, what, awaiting(record.may_track)))
            if record.may_publish is not None:
                self._may_publish.append((plugin, what, awaiting(record.may_publish)))

    async def authenticate(
        self, credentials: Credentials, *, narrow: bool = False, already_authenticated: bool = False
    ) -> Identity:
        """Ask the authenticators in order until one returns an identity.

        :param narrow: whether to accept a single-entity identity (``Identity.only``).
        :param already_authenticated: whether the caller renews its token: it may, however
            many others fail to authenticate from its address.
        :raises AuthenticationRejected: when an authenticator refuses, or fails.
        :raises NotAuthenticated: when all abstain.
        :raises NotAuthorized: for a single-entity identity, unless ``narrow``.
        :raises RateLimited: when too many callers failed from the same address, unless these
            credentials were accepted there meanwhile.
        """
        backoff = self._backoff
        limited: RateLimited | None = None
        if backoff is not None and not already_authenticated:
            try:
                backoff.check(credentials)
            except RateLimited as refusal:
                if credentials.token is not None:
                    raise
                limited = refusal  # raised for a key in another header, right or wrong
        for plugin, what, name, at_once, authenticate in self._authenticators:
            try:
                if at_once is not None:
                    identity = self._plugin_runner.call(plugin, what, at_once, credentials)
                else:
                    identity = await self._plugin_runner.run(
                        plugin, what, authenticate(credentials)
                    )
                if identity is not None and not isinstance(identity, Identity):
                    raise self._plugin_runner.wrong_answer(
                        plugin, what, "an Identity or None", identity
                    )
            except AuthenticationRejected as refusal:
                if limited is not None:
                    raise limited from None
                self._incidents.report(
                    "refused credentials",
                    f"{what}: {refusal.reason}{refusal.detail and f' ({refusal.detail})'}"
                    f"{by(credentials.address)}",
                    reason=refusal.reason,
                )
                if backoff is not None and backoff.failed(credentials):
                    self._incidents.report(
                        "address refused",
                        f"{credentials.address}: too many failed to authenticate"
                        " (a proxy? list it in trusted_proxies)",
                    )
                raise
            except PluginFailed as error:
                raise AuthenticationRejected("the authenticator failed") from error
            if identity is not None:
                if limited is not None:
                    raise limited
                if self._guards and not self.is_accepted(identity):
                    self._incidents.report(
                        "refused credentials",
                        f"revoked{by(credentials.address)}",
                        reason="revoked",
                    )
                    raise AuthenticationRejected("revoked")
                if backoff is not None:
                    backoff.succeeded(credentials)
                if identity.only is not None and not narrow:
                    raise NotAuthorized
                if identity.authenticator == name:
                    return identity
                return attrs.evolve(identity, authenticator=name)
        raise NotAuthenticated

    def add_guard(self, holds: Callable[[Identity], bool]) -> None:
        """Ask a function about every identity that an authenticator returns.

        :raises PluginError: when it cannot be called like that.
        """
        check_plain("the function for permissions.guard", holds, "Identity")
        self._guards.append(holds)

    def is_accepted(self, identity: Identity) -> bool:
        """Whether every guard accepts an identity; a guard that raises does not."""
        for holds in self._guards:  # a plain loop: this runs for every fix
            try:
                if not holds(identity):
                    return False
            except Exception as error:  # a plugin's
                what = full_name(holds)
                line = f"{what}: {type(error).__name__}"
                self._incidents.report("guard failed", line, cause=what, error=error)
                return False
        return True

    def check_holds(self, identity: Identity) -> None:
        """Refuse an identity that has expired or been withdrawn since it authenticated.

        :raises AuthenticationRejected: when it has.
        """
        expires_at = identity.expires_at
        if expires_at is not None and expires_at <= self._clock.now():
            raise AuthenticationRejected("expired")
        if not self.is_accepted(identity):
            raise AuthenticationRejected("revoked")

    @property
    def can_recheck(self) -> bool:
        """Whether some authenticator can be asked if its identities still hold."""
        return bool(self._still_holds)

    async def still_holds(self, identity: Identity) -> bool:
        """Whether an identity still holds, as far as its authenticator knows.

        It does while the authenticator fails: an outage must not disconnect every client.
        """
        plugin, still_holds = self._still_holds.get(identity.authenticator, ("", None))
        if still_holds is None:
            return True
        what = f"authenticator {identity.authenticator!r}"
        try:
            holds: object = await self._plugin_runner.run(plugin, what, still_holds(identity))
            return self._plugin_runner.decision(plugin, what, holds)
        except RealtimeError:  # the runner has counted it
            return True

    @property
    def authorizes(self) -> bool:
        """Whether some authorizer decides about watching."""
        return bool(self._may_track)

    async def may_track(self, identity: Identity, entity: EntityRef) -> bool:
        """Whether every authorizer allows an identity to watch an entity.

        :raises RealtimeError: as an authorizer raises it, to refuse.
        """
        if identity.only is not None:
            return identity.only == entity
        return not self._may_track or await self._all(self._may_track, identity, entity)

    async def may_publish(self, identity: Identity, entity: EntityRef) -> bool:
        """Whether every authorizer allows an identity to publish an entity's positions.

        :raises RealtimeError: as an authorizer raises it, to refuse.
        """
        if identity.only is not None:
            return False
        return not self._may_publish or await self._all(self._may_publish, identity, entity)

    async def shown(self, identity: Identity, entity: EntityRef, location: bytes) -> bytes | None:
        """The location JSON as this identity sees it; ``None`` when a view hides it.

        :raises AuthenticationRejected: when the identity holds no longer.
        """
        view = await self.view_of(identity, entity)  # nothing is awaited from here on
        return location if view is None else view(location)

    async def view_of(
        self, identity: Identity, entity: EntityRef
    ) -> Callable[[bytes], bytes | None] | None:
        """What makes of location JSON what an identity sees; ``None`` when it sees it unchanged.

        :raises AuthenticationRejected: when the identity holds no longer.
        """
        views = self._views
        chain = () if views is None else await views.chain(identity, entity)
        self.check_holds(identity)
        if views is None or not chain:
            return None

        def seen(location: bytes) -> bytes | None:
            payload = RenderedViews(views, event_json(entity, location)).payload(chain)
            return None if payload is None else payload.location

        return seen

    async def sees_no_more(self, identity: Identity, than: Identity, entity: EntityRef) -> bool:
        """Whether every view that applies to ``than`` applies to this identity as well."""
        if self._views is None:
            return True
        others = await self._views.chain(than, entity)
        return set(others) <= set(await self._views.chain(identity, entity))

    async def _all(
        self, rules: list[tuple[str, str, Rule]], identity: Identity, entity: EntityRef
    ) -> bool:
        for plugin, what, rule in rules:
            try:
                allowed: object = await self._plugin_runner.run(
                    plugin, what, rule(identity, entity)
                )
                if not self._plugin_runner.decision(plugin, what, allowed):
                    return False
            except PluginFailed:  # counted already; a refusal
                return False
            except (AuthenticationRejected, NotAuthenticated) as error:  # the caller has a token
                raise NotAuthorized(error.message) from error
            except RealtimeError as error:
                if error.status >= RealtimeError.status:  # not the caller's fault
                    self._incidents.plugin_problem(plugin, "failed", what, explained(error))
                raise
        return True
