"""Every fix, stored and found again; the plugin itself is :mod:`atriz_realtime_history.history`."""
