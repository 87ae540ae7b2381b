"""Bytes of a channel → checked records.

Needs NumPy and `runtime`; compiled `native.c` makes it faster and is optional.
"""
