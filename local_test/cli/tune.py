"""`tune`: one tuning job without a server. Same jobs and folders, a line for each training job as it ends, and on a
terminal a table of those that run.
"""

import argparse
import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from local_test.cli.options import (
    Commands,
    add_job_options,
    add_parallel_option,
    add_runner_options,
    add_s3_option,
    add_ui_option,
    find_job_file,
    load_job_page,
    open_runner,
    read_environment,
    read_job_options,
    say,
)
from local_test.cli.progress import JobView, Overview, Watcher
from local_test.cli.signals import stop_on_signals
from local_test.data.object_store import open_object_store
from local_test.errors import BadRequest, LocalTestError
from local_test.request.builder import Options, build, read_job, timed_name
from local_test.runners.base import Runner
from local_test.server.platform import JobContext, Platform
from local_test.training.job_queue import RETURN_SECONDS
from local_test.training.job_status import FINAL_STATUSES
from local_test.training.metrics import Metric
from local_test.tuning.html_report import NAME
from local_test.tuning.plan import OWN
from local_test.tuning.warm_start import FINAL_OBJECTIVE, list_definitions
from local_test.util.arns import region
from local_test.util.atomic_files import file_uri
from local_test.util.clock import now_utc
from local_test.util.progress_lines import VARIABLE

_OPERATION, _DEFAULT_JOB = "CreateHyperParameterTuningJob", Path("launch/tuning_job.json")
_DEFAULT_NAME, _NAME_LIMIT = "cv-keras", 32  # of HyperParameterTuningJobName
_STATUS = "HyperParameterTuningJobStatus"


_EXAMPLE = "Such as: %(prog)s --channel train=shapes/train --hyperparameter epochs=3 --name shapes"


def add_parser(commands: Commands) -> None:
    text = "run one tuning job; exit code 0 only if it is Completed"
    parser = commands.add_parser("tune", help=text, epilog=_EXAMPLE)
    parser.set_defaults(run=run)
    add_job_options(parser, _OPERATION, _DEFAULT_JOB, "jobs/tune")
    parser.add_argument("--root", type=Path, dest="out", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    add_s3_option(parser, "the one boto3 finds")
    add_runner_options(parser)
    add_parallel_option(parser)
    add_ui_option(parser)


def run(args: argparse.Namespace) -> str:
    """Runs the tuning job to its end; its HyperParameterTuningJobStatus."""
    request, options = read_job(find_job_file(args, _OPERATION, _DEFAULT_JOB), args.command), read_job_options(args)
    with ExitStack() as stack:
        runner = stack.enter_context(open_runner(args))
        environ = read_environment(args)
        tuner = OfflineTuner(request, options, args.out, runner, args.parallel, environ)
        stack.callback(tuner.close)
        stop_on_signals(tuner.stop, tuner.platform.kill)
        if args.ui:
            home = region(environ)
            page = stack.enter_context(load_job_page().of_region(home, tuner.platform.region(home)))
            say(f"Page, while jobs run: {page.url}/tuning-jobs/{tuner.name}")
        description = tuner.run()
    _print_summary(description, tuner, args.out)
    return description[_STATUS]


def _print_summary(description: Mapping[str, Any], tuner: "OfflineTuner", root: Path) -> None:
    for line in summarize(description):
        say(line)
    say(f"Training jobs, logs, metrics and artifacts: {root}")
    if (tuner.folder / NAME).exists():
        say(f"Report: {file_uri(tuner.folder / NAME)}")


def summarize(description: Mapping[str, Any]) -> Iterator[str]:
    """What became of a tuning job that is over."""
    yield f"{description['HyperParameterTuningJobName']}: {description[_STATUS]}"
    if "FailureReason" in description:
        yield f"FailureReason: {description['FailureReason']}"
    if "BestTrainingJob" in description:
        yield f"Best: {format_line(description['BestTrainingJob'])}"


def fill_request(request: Mapping[str, Any], options: Options, out: Path, now: datetime) -> dict[str, Any]:
    """The request of a local run: fills in each definition as `build` fills in a training job."""
    filled = copy.deepcopy(dict(request))
    if options.name or filled.get("HyperParameterTuningJobName", "<name>") == "<name>":
        filled["HyperParameterTuningJobName"] = options.name or timed_name(_DEFAULT_NAME, now)[:_NAME_LIMIT]
    config = filled.get("HyperParameterTuningJobConfig")
    shared = config.get("ParameterRanges") if isinstance(config, dict) else None
    for key in ("TrainingJobDefinition", "TrainingJobDefinitions"):
        definitions = filled.get(key)
        if isinstance(definitions, dict):
            filled[key] = _fill_definition(definitions, shared, options, out, now)
        elif isinstance(definitions, list):
            filled[key] = [_fill_definition(item, shared, options, out, now) for item in definitions]
    return filled


def _fill_definition(definition: Any, shared: Any, options: Options, out: Path, now: datetime) -> Any:
    """`shared`: the ranges of a tuning job with one definition."""
    if not isinstance(definition, dict):  # said by the check of the whole
        return definition
    own = {name: definition[name] for name in OWN if name in definition}
    training = {name: value for name, value in definition.items() if name not in OWN}
    built = build(training, replace(options, name=None, hyperparameters={}), out, now)
    del built["TrainingJobName"]
    if options.hyperparameters:
        _check_static(options.hyperparameters, own.get("HyperParameterRanges", shared))
        own["StaticHyperParameters"] = {**(own.get("StaticHyperParameters") or {}), **options.hyperparameters}
    return {**own, **built}


def _check_static(values: Mapping[str, str], ranges: Any) -> None:
    """BadRequest for a value of a hyperparameter that is tuned."""
    kinds = ranges.values() if isinstance(ranges, dict) else ()  # else said by the check of the whole
    items = [item for kind in kinds if isinstance(kind, list) for item in kind if isinstance(item, dict)]
    for item in items:
        if item.get("Name") in values:
            name = item["Name"]
            raise BadRequest(
                f"--hyperparameter {name}: the job file tunes it, so it has no value of its own. Received: "
                f"{name}={values[name]}. Leave the option out, or take its range out of the file's ParameterRanges"
            )


class OfflineTuner:
    """A tuning job, filled in, accepted and ready to `run`; its folders are below `root`.

    BadRequest, ResourceInUse or RunnerError, each one line, if it can't be.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        options: Options,
        root: Path,
        runner: Runner,
        slots: int,
        environ: Mapping[str, str],
    ) -> None:
        self._region, self._overview = region(environ), Overview()
        self._values: dict[tuple[str, str], tuple[int, float]] = {}  # (job, metric) → how many, the last
        self._views: dict[str, JobView] = {}  # of training jobs
        with ExitStack() as stack:
            storage = stack.enter_context(closing(open_object_store(environ)))
            watched = {**environ, VARIABLE: str(self._overview.interval)}

            def new_context(request: Mapping[str, Any], _: str) -> JobContext:
                view = self._views[request["TrainingJobName"]] = JobView()
                return JobContext(storage, watched, [Watcher(view)])

            self.platform = stack.enter_context(closing(Platform(root, runner, slots, new_context)))
            own = self.platform.region(self._region)
            self._jobs, self._tuning_jobs, self._store = own.jobs, own.tuning_jobs, own.store
            self._request = fill_request(request, options, own.store.training.path, now_utc())
            self.name = self._request["HyperParameterTuningJobName"]
            self._ended = threading.Semaphore(0)
            self._jobs.listeners.append(lambda _: self._ended.release())
            self._jobs.metric_listeners.append(self._on_metric)
            self._stack = stack.pop_all()

    @property
    def folder(self) -> Path:
        return self._store.tuning / self.name

    def close(self) -> None:
        self._stack.close()

    def stop(self) -> None:
        """Stops all jobs as the service would."""
        self._overview.leave()
        self.platform.stop()

    def run(self) -> dict[str, Any]:
        """Runs to the end; DescribeHyperParameterTuningJob's response."""
        self._tuning_jobs.create(self._request)
        printed: set[str] = set()
        while True:
            description = self._tuning_jobs.describe(self.name)
            self._print_ended(printed)
            if description[_STATUS] in FINAL_STATUSES:
                self._tuning_jobs.wait(RETURN_SECONDS)  # it has told its end, and writes its report
                self._overview.clear()
                return description
            title, rows = self._running(description)
            self._overview.show(title, rows, (" ".join(filter(None, row[:4])) for row in rows))
            self._ended.acquire(timeout=0.2)

    def _print_ended(self, printed: set[str]) -> None:
        for child in self._tuning_jobs.children(self.name):
            if child["TrainingJobName"] not in printed and child["ObjectiveStatus"] != "Pending":
                printed.add(child["TrainingJobName"])
                self._overview.say(format_line(child))

    def _on_metric(self, name: str, metric: Metric) -> None:
        self._values[name, metric.name] = metric.index + 1, metric.value

    def _running(self, description: Mapping[str, Any]) -> tuple[str, list[list[str]]]:
        """A title, and a row for each running training job."""
        objectives = {
            item.get("DefinitionName"): item["TuningObjective"]["MetricName"] for item in list_definitions(description)
        }
        children = self._tuning_jobs.children(self.name)
        running = [child for child in children if child["ObjectiveStatus"] == "Pending"]
        rows = [self._row(child, objectives[child.get("TrainingJobDefinitionName")]) for child in running]
        best = description.get("BestTrainingJob", {}).get(FINAL_OBJECTIVE)
        objective_text = f", best {best['MetricName']}={best['Value']:g}" if best else ""
        limit = description["HyperParameterTuningJobConfig"]["ResourceLimits"].get("MaxNumberOfTrainingJobs")
        total = f" of {limit}" if limit else ""
        over = len(children) - len(running)
        return f"{self.name}: {description[_STATUS]}, {over}{total} over, {len(running)} begun{objective_text}", rows

    def _row(self, child: Mapping[str, Any], objective: str) -> list[str]:
        """Name, state or how far it is, age, objective so far (number of values), hyperparameters."""
        name = child["TrainingJobName"]
        count, value = self._values.get((name, objective), (0, 0.0))
        seconds = int((now_utc() - child["CreationTime"]).total_seconds())
        try:
            state = self._jobs.describe(name)["SecondaryStatus"]
        except LocalTestError:  # deleted meanwhile
            state = child["TrainingJobStatus"]
        hyperparameters = " ".join(f"{key}={text}" for key, text in child["TunedHyperParameters"].items())
        if (view := self._views.get(name)) and (place := view.place()):
            state = place
        short = name.removeprefix(f"{self.name}-")  # the title has the rest: 80 columns are soon full
        return [short, state, f"{seconds} s", f"{objective}={value:g} ({count})" if count else "", hyperparameters]


def format_line(child: Mapping[str, Any]) -> str:
    """A training job of a tuning job: name, status, hyperparameters, objective."""
    objective = child.get(FINAL_OBJECTIVE)
    without = "no line with the objective metric" if child["TrainingJobStatus"] == "Completed" else ""
    objective_text = (
        f"{objective['MetricName']}={objective['Value']:g}" if objective else child.get("FailureReason", without)
    )
    hyperparameters = " ".join(f"{name}={value}" for name, value in child["TunedHyperParameters"].items())
    return f"{child['TrainingJobName']}  {child['TrainingJobStatus']}  {hyperparameters}  {objective_text}".rstrip()
