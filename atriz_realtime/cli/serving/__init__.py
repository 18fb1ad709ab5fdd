"""Serving with uvicorn: one process, or several workers behind one port."""
