"""Mutants that no test could notice, each with the reason."""

from __future__ import annotations

import attrs

from tests.mutation.operators import Mutant


@attrs.frozen
class Equivalent:
    """A mutant, told by its diff rather than by its line, and why nobody can tell."""

    path: str
    before: str
    after: str
    reason: str


EQUIVALENT = [
    Equivalent(
        "engine/transports/connections.py",
        "if fd >= 0 and not transport.get_write_buffer_size():",
        "if (fd > 0) and not transport.get_write_buffer_size():",
        "0 is standard input; a socket there would be written to by the transport instead",
    ),
    Equivalent(
        "engine/transports/connections.py",
        "if (proxies is not None or config.proxy_headers) and request.fields.is_forwarded:",
        "if (proxies is not None or config.proxy_headers):",
        "without such a header there is nothing to rewrite; looking first is only faster",
    ),
    Equivalent(
        "engine/session.py",
        'OPENING = "opening"',
        "OPENING = 'openingx'",
        "the value of the enumeration's member is never read",
    ),
    Equivalent(
        "engine/request/request.py",
        'return self._line.split(b" ", 2)[1].decode("latin-1")',
        'return self._line.split(b" ", 3)[1].decode("latin-1")',
        "the second part is the same however many follow",
    ),
]


def explained(mutant: Mutant) -> Equivalent | None:
    """The entry of a mutant."""
    removed = [line[1:].strip() for line in mutant.diff().splitlines() if line.startswith("-")]
    added = [line[1:].strip() for line in mutant.diff().splitlines() if line.startswith("+")]
    for entry in EQUIVALENT:
        if (entry.path, entry.before, entry.after) == (
            mutant.path.removeprefix("atriz_realtime/"),
            "\n".join(removed),
            "\n".join(added),
        ):
            return entry
    return None
