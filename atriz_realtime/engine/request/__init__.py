"""What a request says, and how it is answered."""
