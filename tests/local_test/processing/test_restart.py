"""Processing jobs whose server was killed, and those that run as it ends."""

import signal
from pathlib import Path

from local_test.places.base import Job
from local_test.places.facts import format_status, list_facts
from local_test.places.folders import open_folders
from local_test.request.job_kind import PROCESSING
from local_test.training.job_store import PIPELINE_TAG
from tests.support.processing import processed, processing_request, s3_input, s3_output
from tests.support.served import Served, until

# at its second run it finds what the first one has left beside the inputs: nothing of /opt/ml, all of its output
PROGRAM = """
import os, signal, sys
from pathlib import Path
data = Path(os.environ["SAGEMAKER_BASE_DIR"]) / "processing"
assert not list((data / "out").iterdir())
(data / "out/of-run").write_text("x")
again = Path(os.environ["KEPT"])
if again.exists():
    sys.exit(0)
again.write_text("x")
print("ready", flush=True)
signal.pause()
"""


def test_a_job_of_a_pipeline_runs_again_and_any_other_has_failed(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.mkdir()
    (program / "script.py").write_text(PROGRAM)

    def job(name: str, **members: object) -> dict[str, object]:
        found = processing_request(name, "", Environment={"KEPT": str(tmp_path / f"kept-{name}")}, **members)
        outputs = [s3_output("out", (tmp_path / f"out-{name}").as_uri())]
        inputs = [s3_input("code", (program / "script.py").as_uri())]
        return found | {"ProcessingInputs": inputs, "ProcessingOutputConfig": {"Outputs": outputs}}

    with Served(tmp_path, "--allow-files", "--parallel", "2") as first:
        sagemaker = first.client("sagemaker")
        sagemaker.create_processing_job(**job("steps", Tags=[{"Key": PIPELINE_TAG, "Value": "arn"}]))
        sagemaker.create_processing_job(**job("alone"))
        for name in ("steps", "alone"):
            until(lambda name=name: (tmp_path / f"kept-{name}").exists())
        first.end(signal.SIGKILL)
    (place,) = open_folders(tmp_path / "root")  # as `jobs` and `describe` see them without a server
    found = [Job(place, PROCESSING, description) for description in place.newest(PROCESSING, 9)]
    assert [(job.name, format_status(job)) for job in found] == [("alone", "Failed"), ("steps", "Failed")]
    facts = dict(list_facts(found[0]))
    assert facts["program"] == "python3 /opt/ml/processing/code/script.py"
    assert (facts["input code"], facts["output out"]) == (
        (program / "script.py").as_uri(),
        (tmp_path / "out-alone").as_uri(),
    )
    with Served(tmp_path, "--allow-files") as second:
        sagemaker = second.client("sagemaker")
        alone = processed(sagemaker, "alone")
        assert alone["ProcessingJobStatus"] == "Failed"
        assert alone["FailureReason"].startswith("InternalServerError: The local server ended while the job ran")
        assert not (tmp_path / "out-alone").exists()
        assert processed(sagemaker, "steps")["ProcessingJobStatus"] == "Completed"
        assert (tmp_path / "out-steps/of-run").read_text() == "x"
        component = sagemaker.describe_trial_component(TrialComponentName="steps-aws-processing-job")
        assert component["Status"]["PrimaryStatus"] == "Completed"
        for name in ("steps", "alone"):  # no /opt/ml is left
            assert {path.name for path in (second.root / "processing" / name).iterdir()} <= {
                "request.json", "describe.json", "logs",
            }  # fmt: skip

        (tmp_path / "kept-alone").unlink()
        sagemaker.create_processing_job(**job("ends") | {"Environment": {"KEPT": str(tmp_path / "kept-alone")}})
        until((tmp_path / "kept-alone").exists)
        assert "Traceback" not in second.end()  # stops its jobs as it ends
    described = (tmp_path / "root/processing/ends/describe.json").read_text()
    assert '"ProcessingJobStatus": "Stopped"' in described
