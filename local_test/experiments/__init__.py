"""Experiments: trial components, their metrics, lineage, search.

Needs `training`, whose jobs it follows.
"""
