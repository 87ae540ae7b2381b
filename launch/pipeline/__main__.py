"""The pipeline with boto3, AWS's Python library: `python -m launch.pipeline --image … --role … --bucket … --pictures …`

The same command runs on AWS and, with the exports of `python -m local_test serve`, on this machine.
"""

import json
import sys

try:
    from botocore.exceptions import ClientError

    from launch.core.preflight import client
    from launch.pipeline.definition import Options, build_definition
    from launch.pipeline.run import run
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed. Run `make env`, then .venv/bin/python instead of {sys.executable}")


def start(options: Options) -> str:
    """Make the pipeline, or bring it up to date, and start it; the execution's ARN."""
    sagemaker = client("sagemaker")
    pipeline = {
        "PipelineName": options.name,
        "PipelineDefinition": json.dumps(build_definition(options)),
        "RoleArn": options.role,
    }
    try:
        sagemaker.create_pipeline(**pipeline)
    except ClientError as error:
        if "already exists" not in error.response["Error"]["Message"]:
            raise
        sagemaker.update_pipeline(**pipeline)
    started = sagemaker.start_pipeline_execution(
        PipelineName=options.name,
        PipelineParameters=[{"Name": name, "Value": value} for name, value in options.parameters.items()],
    )
    return started["PipelineExecutionArn"]


if __name__ == "__main__":
    sys.exit(run(__doc__, start))
