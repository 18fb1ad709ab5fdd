"""The fast HTTP path: under uvicorn, endpoints are answered without ASGI."""
