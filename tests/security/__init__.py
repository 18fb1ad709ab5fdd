"""What a security reviewer looks for, with the real thing sent."""
