"""Hosts and devices that train together.

Needs TensorFlow and `runtime`.
"""
