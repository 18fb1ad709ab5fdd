"""Sockets, rooms, fan-out and the publish pipeline."""
