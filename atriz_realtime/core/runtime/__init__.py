"""What the other parts of the core run on."""
