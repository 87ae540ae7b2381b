"""Code as people write it with the SageMaker SDKs: `fit`, `train` and tuners that wait and show the log."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import BUCKET, PREFIX, LaunchServer, sdk_python
from tests.support.missing import missing
from tests.support.small_image import small_image

pytestmark = pytest.mark.slow
ROLE = "arn:aws:iam::123456789012:role/local"
METRICS = [{"Name": "validation:accuracy", "Regex": "validation:accuracy=([0-9.]+)"}]
DATA, OUT = f"s3://{BUCKET}/{PREFIX}/data/train/", f"s3://{BUCKET}/sdk/"

V2 = f"""
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.parameter import ContinuousParameter
from sagemaker.session import Session
from sagemaker.tuner import HyperparameterTuner
quiet = {{"SchemaVersion": "1.0", "SageMaker": {{"PythonSDK": {{"Modules": {{"TelemetryOptOut": True}}}}}}}}
estimator = Estimator("image", "{ROLE}", 1, "ml.m5.large", output_path="{OUT}", input_mode="Pipe",
                      metric_definitions={METRICS},
                      sagemaker_session=Session(default_bucket="{BUCKET}", sagemaker_config=quiet))
estimator.fit({{"train": TrainingInput("{DATA}")}})
print("MODEL", estimator.model_data)
print("ACCURACY", estimator.training_job_analytics.dataframe()["value"].tolist())
tuner = HyperparameterTuner(estimator, "validation:accuracy", {{"learning-rate": ContinuousParameter(1e-5, 1e-3)}},
                            {METRICS}, max_jobs=2, max_parallel_jobs=2)
tuner.fit({{"train": "{DATA}"}}, job_name="tuned-by-v2")  # its own names have the minute, for two in one

print("BEST", tuner.best_training_job())
print("TUNED", len(tuner.analytics().dataframe()))
"""

V3 = f"""
import logging
logging.basicConfig(level=logging.INFO)
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import ContinuousParameter
from sagemaker.core.shapes import Channel, DataSource, MetricDefinition, OutputDataConfig, S3DataSource
from sagemaker.core.training.configs import Compute
from sagemaker.train import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner
quiet = {{"SchemaVersion": "1.0", "SageMaker": {{"PythonSDK": {{"Modules": {{"TelemetryOptOut": True}}}}}}}}
trainer = ModelTrainer(training_image="image", role="{ROLE}", training_input_mode="Pipe",
                       compute=Compute(instance_type="ml.m5.large", instance_count=1),
                       output_data_config=OutputDataConfig(s3_output_path="{OUT}"),
                       sagemaker_session=Session(default_bucket="{BUCKET}", sagemaker_config=quiet))
trainer.with_metric_definitions([MetricDefinition(name=one["Name"], regex=one["Regex"]) for one in {METRICS}])
# not InputData, whose channels are File whatever the job says
place = S3DataSource(s3_data_type="S3Prefix", s3_uri="{DATA}", s3_data_distribution_type="FullyReplicated")
data = [Channel(channel_name="train", data_source=DataSource(s3_data_source=place))]
trainer.train(data, wait=True, logs=True)
job = trainer._latest_training_job.refresh()
print("MODEL", job.model_artifacts.s3_model_artifacts)
print("ACCURACY", [metric.value for metric in job.final_metric_data_list])
tuner = HyperparameterTuner(trainer, "validation:accuracy", {{"learning-rate": ContinuousParameter(1e-5, 1e-3)}},
                            {METRICS}, max_jobs=2, max_parallel_jobs=2)
tuner.tune(data, job_name="tuned-by-v3", wait=True)
print("BEST", tuner.best_training_job())
print("TUNED", tuner.latest_tuning_job.refresh().training_job_status_counters.completed)
"""


def run_sdk(launched: LaunchServer, folder: Path, version: str, program: str) -> dict[str, str]:
    """The first word of each line that the program printed → the rest of it."""
    if not Path(sdk_python(version)).exists():
        missing(f"no SageMaker SDK {version}: `make sdk-{version}` makes its environment")
    (folder / "program.py").write_text(program)
    done = launched.run([sdk_python(version), str(folder / "program.py")], HOME=str(folder))
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    return {line.split(" ", 1)[0]: line.partition(" ")[2] for line in done.stdout.splitlines()}


# what the small image's `train` evaluates, where jobs are containers
SHELL = "wc -c < /opt/ml/input/data/train_0; echo epoch=1 validation:accuracy=0.5; echo x > /opt/ml/model/x"
# another program than the one that made the jobs: it knows their names alone
ATTACH = f"""
from sagemaker.analytics import HyperparameterTuningJobAnalytics, TrainingJobAnalytics
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.parameter import CategoricalParameter, ContinuousParameter
from sagemaker.session import Session
from sagemaker.tuner import HyperparameterTuner
quiet = {{"SchemaVersion": "1.0", "SageMaker": {{"PythonSDK": {{"Modules": {{"TelemetryOptOut": True}}}}}}}}
session = Session(default_bucket="{BUCKET}", sagemaker_config=quiet)
def make():
    return Estimator("image", "{ROLE}", 1, "ml.m5.large", output_path="{OUT}", input_mode="Pipe",
                     metric_definitions={METRICS}, sagemaker_session=session, environment={{"PROGRAM": "{SHELL}"}})
data = {{"train": TrainingInput("{DATA}")}}
make().fit(data, job_name="to-attach", logs=False)
rates = {{"learning-rate": ContinuousParameter(1e-5, 1e-3)}}
HyperparameterTuner(make(), "validation:accuracy", rates, {METRICS}, max_jobs=2).fit(
    data, job_name="tuned-to-attach", wait=True)
both = HyperparameterTuner.create({{"a": make(), "b": make()}},
    {{"a": "validation:accuracy", "b": "validation:accuracy"}}, {{"a": rates, "b": rates}},
    {{"a": {METRICS}, "b": {METRICS}}}, base_tuning_job_name="both", max_jobs=2)
both.fit({{"a": data, "b": data}}, include_cls_metadata=dict.fromkeys("ab", False), job_name="both-to-attach")

again = Estimator.attach("to-attach", sagemaker_session=session)
print("ATTACHED", again.image_uri, again.instance_type, again.output_path, again.model_data)
print("CURVE", len(TrainingJobAnalytics("to-attach", ["validation:accuracy"], session).dataframe()))
again.fit(data, job_name="attached-and-fit", logs=False)
tuner = HyperparameterTuner.attach("tuned-to-attach", sagemaker_session=session)
best = tuner.best_estimator()
print("BEST", best.latest_training_job.name == tuner.best_training_job(), best.hyperparameters()["learning-rate"] != "")
print("RANGES", tuner.hyperparameter_ranges()["ContinuousParameterRanges"][0]["Name"])
table = HyperparameterTuningJobAnalytics("tuned-to-attach", session)
print("TABLE", len(table.dataframe()), list(table.tuning_ranges))
both = HyperparameterTuner.attach("both-to-attach", sagemaker_session=session,
                                  estimator_cls={{name: "sagemaker.estimator.Estimator" for name in "ab"}})
print("BOTH", sorted(both.estimator_dict), both.best_estimator().latest_training_job.name.startswith("both-to"))
"""


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def attaching(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LaunchServer]:
    """A server whose jobs are processes, or containers of the small image."""
    if request.param == "process":
        yield request.getfixturevalue("launched")
        return
    with small_image(request.getfixturevalue("docker_engine")) as name:
        (tmp_path / "images.json").write_text(json.dumps({"image": name}))
        options = ("--runner", "docker", "--images", str(tmp_path / "images.json"))
        with LaunchServer(tmp_path, *options, own=False) as server:
            yield server


def test_sdk_v2_attaches_to_jobs_and_analyses_them(attaching: LaunchServer, tmp_path: Path) -> None:
    lines = run_sdk(attaching, tmp_path, "v2", ATTACH)
    model = f"{OUT}to-attach/output/model.tar.gz"
    assert lines["ATTACHED"] == f"image ml.m5.large {OUT} {model}"
    assert lines["CURVE"] == "1"
    assert lines["BEST"] == "True True"
    assert lines["RANGES"] == "learning-rate"
    assert lines["TABLE"] == "2 ['learning-rate']"
    assert lines["BOTH"] == "['a', 'b'] True"


@pytest.mark.parametrize(("version", "program"), [("v2", V2), ("v3", V3)])
def test_an_sdk_trains_and_tunes(launched: LaunchServer, tmp_path: Path, version: str, program: str) -> None:
    if not Path(sdk_python(version)).exists():
        missing(f"no SageMaker SDK {version}: `make sdk-{version}` makes its environment")
    (tmp_path / "program.py").write_text(program)
    done = launched.run([sdk_python(version), str(tmp_path / "program.py")], HOME=str(tmp_path))
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    told = dict(
        line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("MODEL ", "ACC", "BEST", "TUN"))
    )
    assert told["MODEL"].startswith(OUT)
    assert told["MODEL"].endswith("/output/model.tar.gz")
    assert 0.5 <= float(told["ACCURACY"].strip("[]").split(",")[0]) <= 0.51
    assert told["BEST"]
    assert told["TUNED"] == "2"
    assert "epoch=1 step=10 train:loss=1.5" in done.stdout + done.stderr  # the log, as the SDK shows it


RUN = f"""
from pathlib import Path
from numpy import array
from sagemaker.analytics import ArtifactAnalytics, ExperimentAnalytics
from sagemaker.experiments.run import Run, list_runs, load_run
from sagemaker.lineage.association import Association
from sagemaker.session import Session
quiet = {{"SchemaVersion": "1.0", "SageMaker": {{"PythonSDK": {{"Modules": {{"TelemetryOptOut": True}}}}}}}}
session = Session(default_bucket="{BUCKET}", sagemaker_config=quiet)
true, scores = array([0, 0, 1, 1]), array([0.1, 0.4, 0.35, 0.8])
with Run(experiment_name="by-run", run_name="first", sagemaker_session=session) as run:
    run.log_parameters({{"batch-size": 128, "optimizer": "adam"}})
    for step in range(3):
        run.log_metric("accuracy", 0.5 + step / 10, step=step)
    run.log_confusion_matrix(true, scores > 0.3, title="confusion")
    run.log_roc_curve(true, scores, title="roc")
    run.log_precision_recall(true, scores, title="precision", is_output=False)
    run.log_artifact("model", "s3://{BUCKET}/model")
    run.log_file(__file__, name="program")
with load_run(experiment_name="by-run", run_name="first", sagemaker_session=session) as again:
    again.log_metric("loss", 1.0)
    again.log_parameter("later", 2)
print("RUNS", [run.run_name for run in list_runs("by-run", sagemaker_session=session)])
frame = ExperimentAnalytics(experiment_name="by-run", sagemaker_session=session,
                            sort_by="metrics.accuracy.max").dataframe()  # a lower-case member, as in AWS's examples
print("FOUND", frame.iloc[0]["batch-size"], round(frame.iloc[0]["accuracy - Max"], 3), frame.iloc[0]["loss - Last"])
print("ADDED", frame.iloc[0]["later"], frame.iloc[0]["model - Value"])
own = again._trial_component.trial_component_arn
made, taken = [list(Association.list(sagemaker_session=session, **one))
               for one in ({{"source_arn": own}}, {{"destination_arn": own}})]
print("GRAPHS", sorted(item.destination_type for item in made), [item.source_name for item in taken])
print("LISTED", len(ArtifactAnalytics(artifact_type="ROCCurve", sagemaker_session=session).dataframe()))
"""

TRACKER = f"""
import boto3
from smexperiments.tracker import Tracker
client = boto3.client("sagemaker")
with Tracker.create(display_name="tracked", artifact_bucket="{BUCKET}", artifact_prefix="tracked",
                    sagemaker_boto_client=client) as tracker:
    tracker.log_parameters({{"a": 1}})
    tracker.log_output_artifact(__file__, name="program")
    tracker.log_confusion_matrix([0, 1, 1], [0, 1, 0], title="confusion")
found = client.list_associations(SourceArn=tracker.trial_component.trial_component_arn)["AssociationSummaries"]
print("TRACKED", sorted(item["DestinationType"] for item in found))
"""


def test_runs_of_sdk_v2_and_their_graphs_are_kept_and_found(launched: LaunchServer, tmp_path: Path) -> None:
    lines = run_sdk(launched, tmp_path, "v2", RUN)
    assert lines["RUNS"] == "['first']"
    assert lines["FOUND"] == "128 0.7 1.0"
    assert lines["ADDED"] == f"2 s3://{BUCKET}/model"
    assert lines["GRAPHS"] == "['ConfusionMatrix', 'ROCCurve'] ['precision']"
    assert lines["LISTED"] == "1"


def test_sagemaker_experiments_tracks_a_graph(launched: LaunchServer, tmp_path: Path) -> None:
    """The package before SDK v2's Run, which old notebooks import."""
    assert run_sdk(launched, tmp_path, "v2", TRACKER)["TRACKED"] == "['ConfusionMatrix', 'text/x-python']"
