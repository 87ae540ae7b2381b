"""The operations of the SageMaker API, without HTTP.

Needs `training`, `tuning` and `experiments`.
"""
