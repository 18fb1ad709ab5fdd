"""PMTiles files for tests."""
