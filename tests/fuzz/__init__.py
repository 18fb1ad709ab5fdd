"""Whatever arrives from outside, thrown at what reads it."""
