"""A deterministic simulation: several real servers, a model of Redis, faults, and a judge.

Everything happens in one process, on a loop whose time is virtual, by choices that all come
from one seed.  ``python -m tests.simulation --seed N`` replays a run exactly.
"""
