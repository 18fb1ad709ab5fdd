"""The default plugins: ordinary ones, written only against ``atriz_realtime.api``."""
