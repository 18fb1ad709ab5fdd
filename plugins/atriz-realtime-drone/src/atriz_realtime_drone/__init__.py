"""Drones for atriz-realtime; the plugin itself is :mod:`atriz_realtime_drone.drone`."""
