"""Experiments: trial components, their metrics, search.

Needs `training`, whose jobs it follows.
"""
