"""Small helpers without knowledge of SageMaker.

Needs the standard library.
"""
