"""Configuration, plugins, and the registry of what plugins contribute."""
