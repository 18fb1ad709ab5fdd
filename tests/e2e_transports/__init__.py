"""Other ways that sockets reach a server, in a file each: they take long, and run side by side."""
