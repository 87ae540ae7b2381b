"""The services beside SageMaker: S3, CloudWatch and their clients.

Needs boto3 and moto.
"""
