"""One pipeline and thin clients that start it: boto3, SDK v2, SDK v3.

Pictures are prepared, a model is trained on them in Pipe mode, then tuned; the best is evaluated, and registered if it
is accurate enough.
"""
