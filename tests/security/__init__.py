"""Attacks and refusals, tried on real servers."""
