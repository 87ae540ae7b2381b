"""Requests for jobs: built, validated, and what of them is supported.

Needs botocore, whose service model is the validator.
"""
