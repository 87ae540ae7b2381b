"""An execution is followed on a terminal; Ctrl-C asks, and says how to stop it later."""

import sys

import pytest

from tests.support.clients import BUCKET, LaunchServer
from tests.support.executions import create_pipeline, describe, ended, start, train_step
from tests.support.served import ROOT
from tests.support.terminal import Terminal

FOLLOW = "import sys\nfrom launch.pipeline.run import follow\nsys.exit(follow(sys.argv[1]))"


@pytest.mark.parametrize("answer", ["y", "n"])
def test_ctrl_c_asks_whether_the_execution_is_to_stop(launched: LaunchServer, answer: str) -> None:
    sagemaker, name = launched.client("sagemaker"), f"follow-{answer}"
    output = {"S3OutputPath": f"s3://{BUCKET}/out"}
    waits = train_step("Waits", arguments={"HyperParameters": {"model": "waits"}, "OutputDataConfig": output})
    create_pipeline(sagemaker, name, [waits])
    execution = start(sagemaker, name)
    terminal = Terminal([sys.executable, "-c", FOLLOW, execution], ROOT, launched.environment())
    terminal.wait_for("Waits                  Executing")
    terminal.wait_for("-- Executing: 0:")  # nobody waits for ten seconds without a word
    terminal.type("\x03")
    terminal.wait_for(f"Stop {execution}, too? [y/N] ")
    terminal.type(f"{answer}\n")
    if answer == "y":
        terminal.wait_for("-- Stopped")
        assert terminal.end() == 1
    else:
        terminal.wait_for("goes on.")
        assert terminal.end() == 130
        stop = f"aws sagemaker stop-pipeline-execution --pipeline-execution-arn {execution}"
        assert f"-- stop it:   {stop}\n" in terminal.output
        assert describe(sagemaker, execution)["PipelineExecutionStatus"] == "Executing"
        done = launched.run(stop.split())
        assert done.returncode == 0, done.stderr
    assert ended(sagemaker, execution)["PipelineExecutionStatus"] == "Stopped"
