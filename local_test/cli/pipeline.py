"""`pipeline`: one execution of a pipeline without a server. A line for each step as it begins and ends, and
on a terminal a table of all of them.
"""

import argparse
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_test.cli.options import (
    Commands,
    add_parallel_option,
    add_runner_options,
    add_s3_option,
    add_ui_option,
    load_api_server,
    load_job_page,
    open_runner,
    read_environment,
    say,
)
from local_test.cli.progress import JobView, Overview, Watcher
from local_test.cli.signals import ignore_signals, stop_on_signals
from local_test.data.object_store import ObjectStore, join_uri
from local_test.errors import BadRequest, LocalTestError
from local_test.executions.record import ExecutionRecord, StepRecord
from local_test.pipelines.checks import read_checked
from local_test.pipelines.definition import Definition, Step
from local_test.pipelines.parameters import parse_values
from local_test.request.builder import (
    LOCAL_IMAGE,
    LOCAL_ROLE,
    PLACEHOLDER,
    fill_placeholders,
    parse_pairs,
    refuse_others,
)
from local_test.request.job_kind import kind_of
from local_test.request.validation import validate
from local_test.server.platform import JobContext
from local_test.util.arns import region
from local_test.util.atomic_files import file_uri, read_json
from local_test.util.console import format_seconds
from local_test.util.progress_lines import VARIABLE

if TYPE_CHECKING:
    from local_test.server.api_server import ApiServer

BUCKET = "local"  # what <bucket> stands for
_LOOK_SECONDS = 0.2
_ENDING_SECONDS = 30  # for what still writes after an execution's end


_EXAMPLE = (
    "Such as: %(prog)s launch/pipeline.json --parameter Epochs=1 --upload shapes.zip=s3://local/shapes/shapes.zip"
)


def add_parser(commands: Commands) -> None:
    text = "run a pipeline once; exit code 0 only if it has Succeeded"
    parser = commands.add_parser("pipeline", help=text, epilog=_EXAMPLE)
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("definition", type=Path, metavar="FILE.json", help="a pipeline's definition, such as launch/pipeline.json")
    add("--parameter", action="append", default=[], metavar="K=V", help="a value of a parameter of the pipeline")
    text = "a file or a folder that S3 is to hold before the first step"
    add("--upload", action="append", default=[], metavar="PATH=s3://…", help=text)
    add("--image", default=LOCAL_IMAGE, metavar="IMG", help=f"what <image> stands for (default: {LOCAL_IMAGE})")
    add("--name", help="the pipeline's name (default: the file's); cached steps are of the same name's executions")
    add("--out", type=Path, default=Path("jobs/pipeline"), metavar="DIR", help="where jobs, S3 and models are kept")
    add_s3_option(parser, "one of its own")
    add_runner_options(parser)
    add_parallel_option(parser)
    add_ui_option(parser)


def run(args: argparse.Namespace) -> str:
    """Runs the pipeline to its end; its PipelineExecutionStatus."""
    environ = read_environment(args)
    home = region(environ)
    name = args.name or _make_name(args.definition)
    validate({"PipelineName": name, "RoleArn": LOCAL_ROLE, "ClientRequestToken": str(uuid.uuid4())}, "CreatePipeline")
    text = read_definition(args.definition, name, args.image, home)
    definition, texts = read_checked(text), parse_pairs("--parameter", args.parameter)
    parse_values(definition.parameters, texts)
    _refuse_callbacks(definition)
    uploads = [_read_upload(one) for one in args.upload]
    api = load_api_server()
    with ExitStack() as stack:
        runner = stack.enter_context(open_runner(args))
        allowed = api.Allowed(files=True, any_role=True, any_bucket=True)
        server = api.ApiServer(
            args.out, runner, "127.0.0.1", 0, args.parallel, {}, args.s3_endpoint_url, allowed=allowed, own=True
        )
        stack.callback(server.close)
        pipeline = OfflinePipeline(server, home, name, definition)
        stop_on_signals(pipeline.stop, server.platform.kill)
        server.start(resume=False)  # what goes on needs the uploads, too
        for path, uri in uploads:
            upload(server.new_storage(home), path, uri)
        if args.ui:
            page = stack.enter_context(load_job_page().of_region(home, server.platform.region(home)))
            say(f"Page, while the pipeline runs: {page.url}/pipelines/{pipeline.name}")
        record = pipeline.run(text, texts)
        ignore_signals()
        server.platform.stop()
        server.platform.wait(_ENDING_SECONDS)
        server.save()
    _print_summary(record, definition, args.out)
    if not args.s3_endpoint_url and any("s3://" in step.failure for step in record.steps.values()):
        say("S3 is this command's own: --upload PATH=s3://BUCKET/KEY puts what a step needs there before the first one")
    return record.status


def read_definition(path: Path, name: str, image: str, region_name: str) -> str:
    """The definition's text, its placeholders filled in: <name>, <role>, <image>, <bucket>, <region>.

    A parameter whose default has another placeholder has no default here. BadRequest for one that stands elsewhere.
    """
    places = {"<name>": name, "<image>": image, "<bucket>": BUCKET, "<region>": region_name}
    filled = fill_placeholders(_read_file(path), places)
    parameters = filled.get("Parameters") if isinstance(filled, dict) else None
    for parameter in parameters if isinstance(parameters, list) else ():
        if isinstance(parameter, dict) and PLACEHOLDER.search(str(parameter.get("DefaultValue"))):
            del parameter["DefaultValue"]
    if left := next((text for text in _strings(filled) if PLACEHOLDER.search(text)), None):
        raise BadRequest(f"The definition has a placeholder that has no local value. Received: {left}")
    return json.dumps(filled)


def _read_file(path: Path) -> Any:
    """The definition's value; of what `aws sagemaker describe-pipeline` prints, or of a text in JSON, that which is
    inside. BadRequest for another command's file."""
    value = read_json(path, "The definition")
    inner = value.get("PipelineDefinition") if isinstance(value, dict) else value
    if isinstance(inner, str):
        try:
            return json.loads(inner)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"The definition in it is not JSON: {error}. Received: {path}") from None
    if isinstance(value, dict):
        refuse_others(value, "pipeline", path)
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _refuse_callbacks(definition: Definition) -> None:
    if name := next((step.name for step in definition.by_name.values() if step.type == "Callback"), None):
        raise BadRequest(
            f"Step {name} waits for an answer over the API, and without a server nobody can give it. Start serve, and "
            "create the pipeline there"
        )


def _make_name(path: Path) -> str:
    """A pipeline's name from a file's."""
    return re.sub(r"[^A-Za-z0-9]+", "-", path.stem)[:256].strip("-") or "pipeline"


def _read_upload(text: str) -> tuple[Path, str]:
    path, found, place = text.rpartition("=s3://")
    if not found or not path or not (Path(path).is_file() or Path(path).is_dir()):
        raise BadRequest(f"--upload takes PATH=s3://BUCKET/KEY, of a file or a folder that is there. Received: {text}")
    return Path(path), f"s3://{place}"


def upload(storage: ObjectStore, path: Path, uri: str) -> None:
    """Puts the file there, or all files of the folder below there. BadRequest or DataError if that fails."""
    if not storage.has_bucket(uri):
        raise BadRequest(f"--upload: there is no such bucket. Received: {uri}")
    for item in storage.objects(file_uri(path)):
        assert item.path
        try:
            with item.path.open("rb") as file:
                storage.put(file, join_uri(uri, item.name) if path.is_dir() else uri)
        except OSError as error:
            raise BadRequest(f"--upload: {item.path} can't be read: {error.strerror}") from None


class OfflinePipeline:
    """One execution over a server that nobody else uses."""

    def __init__(self, server: "ApiServer", home: str, name: str, definition: Definition) -> None:
        self._platform, self._home, self.name, self._definition = server.platform, home, name, definition
        self._overview, self._stopped = Overview(), False
        self._told: dict[str, str] = {}  # step → the status that was printed last
        self._views: dict[str, JobView] = {}  # of training and processing jobs
        self._new_context, self._platform.new_context = self._platform.new_context, self._watch

    def _watch(self, request: Mapping[str, Any], region_name: str) -> JobContext:
        """The job's context, with an eye on how far its program says it is."""
        context = self._new_context(request, region_name)
        view = self._views[kind_of(request).name_of(request)] = JobView()
        environ = {**context.environ, VARIABLE: str(self._overview.interval)}
        return replace(context, environ=environ, observers=[*context.observers, Watcher(view)])

    def stop(self) -> None:
        """Stops all jobs as the service would."""
        self._overview.leave()
        self._stopped = True
        self._platform.stop()

    def run(self, text: str, texts: Mapping[str, str]) -> ExecutionRecord:
        """Runs to the end. BadRequest, one line, if the pipeline is refused.

        The execution of the same definition and values that an earlier program left, as it was killed, goes on; others
        that were left are stopped.
        """
        arn = self._take_up(text, texts) or self._start(texts)
        executions = self._platform.region(self._home).executions
        while True:
            record = executions.find(arn)
            self._print_changes(record)
            if record.is_over:
                self._overview.clear()
                return record
            rows = {step.name: self._row(step, record) for step in self._definition.by_name.values()}
            running = (name for name, step in list(record.steps.items()) if not step.is_over)
            self._overview.show(self._title(record), list(rows.values()), (" ".join(rows[name]) for name in running))
            time.sleep(_LOOK_SECONDS)

    def _take_up(self, text: str, texts: Mapping[str, str]) -> str | None:
        """Goes on with what an earlier program left; the ARN of the execution that this one would start."""
        executions = self._platform.region(self._home).executions
        pipeline_arn = self._keep(text)
        left = [record for record in executions.of(pipeline_arn) if not record.is_over]
        same = [one.arn for one in left if one.given == texts and executions.definition_text(one.arn) == text]
        self._platform.resume()
        for record in left:
            if record.arn not in same[:1]:
                with suppress(LocalTestError):  # it has just ended
                    executions.stop(record.arn)
        if same:
            self._overview.say(
                f"{self.name}: goes on with {same[0].rpartition('/')[2]}, which was left by an earlier program"
            )
        return same[0] if same else None

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        assert self._platform.services
        return self._platform.services(self._home).call(operation, request)

    def _keep(self, text: str) -> str:
        """The pipeline as it is now; its ARN."""
        members = {"PipelineName": self.name, "PipelineDefinition": text, "RoleArn": LOCAL_ROLE}
        if self._platform.region(self._home).pipelines.has(self.name):
            return str(self._call("UpdatePipeline", **members)["PipelineArn"])
        return str(self._call("CreatePipeline", **members, ClientRequestToken=str(uuid.uuid4()))["PipelineArn"])

    def _start(self, texts: Mapping[str, str]) -> str:
        parameters = [{"Name": name, "Value": value} for name, value in texts.items()]
        token = str(uuid.uuid4())
        request = {"PipelineName": self.name, "PipelineParameters": parameters, "ClientRequestToken": token}
        try:
            return str(self._call("StartPipelineExecution", **request)["PipelineExecutionArn"])
        except LocalTestError:
            if self._stopped:  # the person was faster, and there is nothing to stop
                raise KeyboardInterrupt from None
            raise

    # What the person sees

    def _print_changes(self, record: ExecutionRecord) -> None:
        for name, step in list(record.steps.items()):
            if step.status not in ("Starting", self._told.get(name)):
                self._told[name] = step.status
                self._overview.say(_describe(step, self._definition.by_name[name].type))

    def _title(self, record: ExecutionRecord) -> str:
        over = sum(step.is_over for step in list(record.steps.values()))
        return f"{self.name}: {record.status}, {over} of {len(self._definition.by_name)} steps over"

    def _row(self, step: Step, record: ExecutionRecord) -> list[str]:
        """Name, type, status, age, and where its job is."""
        found = record.steps.get(step.name)
        if not found:
            return [step.name, step.type, "not begun", "", ""]
        seconds = (time.time() if found.end is None else found.end) - found.start
        detail = _reason(found) if found.is_over else self._ask(step, found)
        return [step.name, step.type, found.status, format_seconds(max(0.0, seconds)), detail]

    def _ask(self, step: Step, found: StepRecord) -> str:
        if view := self._views.get(found.identity):
            return view.place() or view.state
        if step.type == "Tuning":
            with suppress(LocalTestError):  # it is not there yet
                description = self._platform.region(self._home).tuning_jobs.describe(found.identity)
                counts = description["TrainingJobStatusCounters"]
                return f"{counts['Completed']} completed, {counts['InProgress']} begun"
        return ""


def _describe(step: StepRecord, step_type: str) -> str:
    if not step.is_over or step.end is None:
        job = step.identity if step_type in ("Training", "Processing", "Tuning") else ""
        return "  ".join(filter(None, (step.name, step.status, job)))
    words = (step.name, step.status, format_seconds(max(0.0, step.end - step.start)), _reason(step))
    return "  ".join(filter(None, words))


def _reason(step: StepRecord) -> str:
    if step.cached_from:
        return f"cached: {step.cached_from.rpartition('/')[2]}"
    return step.failure or str((step.outputs or {}).get("Outcome", ""))


def _print_summary(record: ExecutionRecord, definition: Definition, root: Path) -> None:
    say(f"{record.pipeline}: {record.status}")
    if record.failure:
        say(f"FailureReason: {record.failure}")
    for name, step in record.steps.items():
        if step.status == "Failed" and step.arn and definition.by_name[name].type in ("Training", "Processing"):
            say(f"Log of {name}: python -m local_test logs {step.identity} --out {root}")
        if step.arn and definition.by_name[name].type in ("RegisterModel", "Model"):
            say(f"{name}: {step.arn}")
    say(f"Jobs, logs and artifacts: {root}")
    say(f"S3, models and experiments: python -m local_test serve --root {root}")
