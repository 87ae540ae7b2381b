"""The platform put together, and its HTTP server.

Needs everything above; the server, not the platform, needs moto.
"""
