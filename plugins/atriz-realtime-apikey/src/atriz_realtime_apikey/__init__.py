"""API keys for atriz-realtime; the plugin itself is :mod:`atriz_realtime_apikey.apikey`."""
