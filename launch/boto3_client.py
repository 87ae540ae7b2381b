"""Train or tune with boto3, AWS's Python library: `python -m launch.boto3_client train --image … --role … --bucket …`

The same command runs on AWS and, with the exports of `python -m local_test serve`, on this machine.
"""

import sys

try:
    from launch.core.preflight import client
    from launch.core.request import Options, build_request
    from launch.core.run import run
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed. Run `make env`, then .venv/bin/python instead of {sys.executable}")


def create(options: Options) -> str:
    """Start the job; its name."""
    sagemaker = client("sagemaker")
    if options.command == "train":
        sagemaker.create_training_job(**build_request(options))
    else:
        sagemaker.create_hyper_parameter_tuning_job(**build_request(options))
    return options.name


if __name__ == "__main__":
    sys.exit(run(__doc__, create))
