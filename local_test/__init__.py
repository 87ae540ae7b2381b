"""SageMaker on this machine: runs the image as the service would.

Needs boto3 and docker; `serve` needs moto and tuning needs optuna, too.
"""
