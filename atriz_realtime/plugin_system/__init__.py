"""Configuration, loading of plugins, and the registry of their records."""
