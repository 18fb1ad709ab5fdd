"""The error classes.

Every refusal that a client, a device or an operator can get is one of these classes.  Each has a
stable machine-readable ``code``, an HTTP ``status`` and a default ``message``.  The socket event
``error`` carries only the message; acknowledgements and HTTP bodies carry the code, the message
and, if one field is to blame, its name on the wire.
"""

from __future__ import annotations

from typing import ClassVar


class RealtimeError(Exception):
    """Root of every error this package raises on purpose.

    :param message: what went wrong, in one line; never contains a token.
    :param field: the offending field's name on the wire, when there is one.
    :param retry_after: seconds until a retry can succeed, if that is known.
    """

    code: ClassVar[str] = "internal"
    """Tells programs what went wrong; it never changes."""
    status: ClassVar[int] = 500
    """The HTTP status of the refusal."""
    default_message: ClassVar[str] = "Internal error"
    """The message if none is given."""

    def __init__(
        self,
        message: str | None = None,
        *,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.field = field
        self.retry_after = retry_after
        super().__init__(self.message)

    @property
    def http_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Further headers of an HTTP refusal: names in lower case, and values."""
        if self.retry_after is None:
            return ()
        return ((b"retry-after", b"%d" % self.retry_after),)

    def to_wire(self) -> dict[str, object]:
        """The body of an HTTP refusal and of a negative acknowledgement."""
        body: dict[str, object] = {"success": False, "code": self.code, "message": self.message}
        if self.field is not None:
            body["field"] = self.field
        return body


class InvalidRequest(RealtimeError):
    """Malformed input: broken JSON, a missing field, a wrong type."""

    code = "bad_request"
    status = 400
    default_message = "Bad request"


class InvalidLocation(RealtimeError):
    """A location field that is missing, of the wrong type or out of range."""

    code = "invalid_location"
    status = 422
    default_message = "Invalid location"


class InvalidEntityId(RealtimeError):
    """An entity id that its type's ``id_pattern`` does not match as a whole."""

    code = "invalid_entity_id"
    status = 422
    default_message = "Invalid entity id"


class UnknownEntityType(RealtimeError):
    """An entity type that no active plugin registers."""

    code = "unknown_type"
    status = 422
    default_message = "Unknown entity type"


class LocationNotFound(RealtimeError):
    """No current location is cached for the entity."""

    code = "not_found"
    status = 404
    default_message = "No current location"


class NotAuthenticated(RealtimeError):
    """The caller has not authenticated, or sent no credentials."""

    code = "not_authenticated"
    status = 401
    default_message = "Not authenticated"


class AuthenticationRejected(RealtimeError):
    """Invalid credentials, as the authenticator for their kind decided.

    The client always gets the same message.  Only the server's log has the reason, because it
    would help an attacker who tries tokens.

    :param reason: why, for the log, which counts refusals by reason: use few different texts.
    :param detail: further information for the log, such as the id of a key; never a token.
    """

    code = "invalid_token"
    status = 401
    default_message = "Authentication failed"

    def __init__(self, reason: str = "rejected", detail: str = "") -> None:
        super().__init__()
        self.reason = reason
        self.detail = detail


class NotAuthorized(RealtimeError):
    """The caller is authenticated, but may not do this with this entity."""

    code = "unauthorized"
    status = 403
    default_message = "Unauthorized"


class SubscriptionLimit(RealtimeError):
    """The socket would track more entities than ``max_subscriptions``."""

    code = "subscription_limit"
    status = 429
    default_message = "Subscription limit"


class RateLimited(RealtimeError):
    """More events, connections or failed authentications than the configured limits allow."""

    code = "rate_limited"
    status = 429
    default_message = "Rate limit"


class RevocationLimit(RealtimeError):
    """As many revocations are in force as servers keep; nothing was revoked."""

    code = "revocation_limit"
    status = 503
    default_message = "Too many revocations are in force; nothing was revoked"


class PayloadTooLarge(RealtimeError):
    """A request body larger than ``max_body``, or a batch longer than ``max_batch``."""

    code = "payload_too_large"
    status = 413
    default_message = "Payload too large"


class RequestTimeout(RealtimeError):
    """A request whose head is late, or whose body comes too slowly."""

    code = "request_timeout"
    status = 408
    default_message = "Request timeout"


class Unavailable(RealtimeError):
    """A backend (Redis, a cache, a fan-out) that cannot be reached right now, or no room.

    Clients read the message, so it must not contain an address.
    """

    code = "unavailable"
    status = 503
    default_message = "Temporarily unavailable"


class PluginFailed(RealtimeError):
    """A plugin raised an exception or took too long when its answer was needed."""

    code = "plugin_failed"
    status = 500
    default_message = "A plugin failed"


class ConfigurationError(RealtimeError):
    """Settings or plugins that cannot work; the start stops with one line."""

    code = "configuration"
    default_message = "Invalid configuration"


class PluginError(ConfigurationError):
    """A plugin that cannot be loaded, or two that claim the same name."""

    code = "plugin"
    default_message = "Plugin error"
