"""Channels: from S3 objects or local files to what a host reads, FIFOs among it.

Needs boto3 for S3.
"""
