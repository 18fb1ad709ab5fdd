"""The command line, ``atriz-realtime``: one module a command, none loaded before it is needed."""
