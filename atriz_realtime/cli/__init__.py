"""The command line, ``atriz-realtime``: each command is imported when it is called."""
