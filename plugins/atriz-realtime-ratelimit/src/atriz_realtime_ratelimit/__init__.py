"""Throttling across servers; the plugin itself is :mod:`atriz_realtime_ratelimit.ratelimit`."""
