"""Pipelines: a definition's JSON, its parameters, expressions and conditions, and what of it is refused.

Needs `request`, `tuning` and botocore's model.
"""
