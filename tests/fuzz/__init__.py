"""Fuzzing of everything that parses bytes from clients."""
