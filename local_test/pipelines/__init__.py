"""Pipelines: a definition's JSON, its parameters, expressions and conditions, and what of it is refused.

Needs `request`, `hosts`, `training`, `tuning` and botocore's model.
"""
