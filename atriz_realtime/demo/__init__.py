"""A simulated fleet in a simulated town."""
