"""One request and thin clients that send it: boto3, AWS CLI, SDK v2, SDK v3.

Each client needs the package it is named after, nothing else.
"""
