"""Train or tune with boto3, AWS's Python library: `python -m launch.boto3_client train --image … --role … --bucket …`

The same command runs on AWS and, with the exports of `python -m local_test serve`, on this machine.
"""

import sys

from launch.core.preflight import client
from launch.core.request import Options, request
from launch.core.run import run


def create(chosen: Options) -> str:
    """Start the job; its name."""
    sagemaker = client("sagemaker")
    if chosen.command == "train":
        sagemaker.create_training_job(**request(chosen))
    else:
        sagemaker.create_hyper_parameter_tuning_job(**request(chosen))
    return chosen.name


if __name__ == "__main__":
    sys.exit(run(__doc__, create))
