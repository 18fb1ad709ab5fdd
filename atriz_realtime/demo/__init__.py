"""A simulated fleet on simulated streets."""
