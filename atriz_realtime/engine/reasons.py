"""Why sessions end."""

from __future__ import annotations


class Reason:
    """Why a session ended, as python-socketio names it."""

    SERVER_DISCONNECT = "server disconnect"
    CLIENT_DISCONNECT = "client disconnect"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"


CLIENTS_OWN = frozenset({Reason.CLIENT_DISCONNECT, Reason.TRANSPORT_CLOSE})
"""Ends of the client's making: what it sent before counts."""
