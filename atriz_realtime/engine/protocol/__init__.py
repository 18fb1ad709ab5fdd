"""The wire: websocket frames and Engine.IO packets."""
