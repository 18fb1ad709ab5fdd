"""The plugin's settings."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class TypescriptSettings:
    """The table ``[realtime.plugins.typescript]``."""

    adapter: str = attrs.field(
        default="off", validator=attrs.validators.in_(["off", "classic", "sharded"])
    )
    """Which adapter their `@socket.io/redis-adapter` is: `"classic"` (`createAdapter`),
    `"sharded"` (`createShardedAdapter`), or `"off"`: no bridge."""
    key: str = attrs.field(
        default="socket.io", validator=attrs.validators.matches_re(r"[^*?\[\]\\\s]+")
    )
    """What their channels begin with: the adapter's option `key` or `channelPrefix`."""
    authenticated_room: str = "authenticated"
    """The room that their authenticated sockets are in, for `broadcastToAuthenticated`."""
