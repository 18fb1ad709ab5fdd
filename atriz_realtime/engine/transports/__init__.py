"""How packets travel: websockets under uvicorn or ASGI, and long polling."""
