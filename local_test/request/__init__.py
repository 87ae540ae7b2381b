"""A CreateTrainingJob request: built, validated, and what of it is supported.

Needs botocore, whose service model is the validator.
"""
