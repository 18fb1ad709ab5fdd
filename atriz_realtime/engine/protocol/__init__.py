"""The wire formats: websocket frames and Engine.IO packets."""
