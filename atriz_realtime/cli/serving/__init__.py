"""Serving with uvicorn: in one process, or in several workers that share a port."""
