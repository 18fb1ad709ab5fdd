"""What several default plugins use; none of it is a plugin."""
