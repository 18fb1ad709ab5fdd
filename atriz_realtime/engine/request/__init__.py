"""HTTP requests: their parts, their origins and their answers."""
