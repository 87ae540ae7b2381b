"""What the clients share: the request, checks before it is sent, following a job, its results.

Needs the standard library; boto3 where AWS is asked.
"""
