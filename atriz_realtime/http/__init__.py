"""The fast HTTP path: endpoints answered on uvicorn without ASGI."""
