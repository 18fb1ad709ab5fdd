"""Rooms and broadcasts on this server, and what servers tell each other."""
