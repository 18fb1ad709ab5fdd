"""Commands that talk to a running server: ``watch``, ``replay``, ``publish``, ``bench``."""
