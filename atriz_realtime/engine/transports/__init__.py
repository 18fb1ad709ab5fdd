"""The transports of a session: websockets under uvicorn and over ASGI, and long polling."""
