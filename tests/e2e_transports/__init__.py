"""The end-to-end tests over other transports, a file each, so that they run side by side."""
