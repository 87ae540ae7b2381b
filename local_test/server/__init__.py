"""The platform put together, and the HTTP server in front of it.

Needs moto and werkzeug.
"""
