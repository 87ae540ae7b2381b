"""Pipelines: a definition's JSON, its expressions and conditions, what of it is refused, where pipelines are kept.

Needs request, and botocore's model.
"""
