"""A CreateTrainingJob request: the one form of a job, built from what a command line says."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from local_test.errors import BadRequest
from local_test.request.validation import service_model, validate
from local_test.util.arns import ACCOUNT
from local_test.util.atomic_files import file_uri, local_path, read_json

LOCAL_IMAGE = "cv-keras-cifar10:local"
LOCAL_ROLE = f"arn:aws:iam::{ACCOUNT}:role/local"
DEFAULT_JOB = Path("launch/training_job.json")
BASE_NAME = "cv-keras-cifar10"  # of jobs that have no name of their own
PLACEHOLDER = re.compile(r"<[a-z]+>")
_PLACEHOLDER = re.compile(r"<(image|role|bucket|name)>")  # of a job file: those that may not be left
MODES = ("Pipe", "File", "FastFile")
_FILE_CHANNELS = ("code", "dataset")  # of the training program: a script and a description are no streams
_NAME_LIMIT = 63  # of TrainingJobName
# a member that only one command's file has → what that is
_COMMANDS = {
    "HyperParameterTuningJobConfig": ("tuning job", "tune"),
    "AlgorithmSpecification": ("training job", "train"),
    "Steps": ("pipeline", "pipeline"),
}
_OUTPUTS = ("OutputDataConfig", "TensorBoardOutputConfig", "DebugHookConfig", "ProfilerConfig")


@dataclass(frozen=True)
class Options:
    """The command line's options of a job; one that is empty leaves what the job file says."""

    image: str | None = None
    name: str | None = None
    input_mode: str | None = None
    channels: Mapping[str, str] = field(default_factory=dict)  # name → path or URI, and :MODE if it has its own
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    instance_count: int | None = None
    checkpoints: Path | None = None
    max_runtime: int | None = None  # seconds


def read_job(path: Path, command: str = "train") -> dict[str, Any]:
    """The request in the job file of `train` or `tune`; a description, as `aws sagemaker describe-…` prints it, becomes
    one. BadRequest if the file isn't there, isn't a JSON object or is the other's."""
    request = read_json(path, "The job file")
    kind = "TrainingJob" if command == "train" else "HyperParameterTuningJob"
    if not isinstance(request, dict):
        received = f"{path}, a {type(request).__name__}"
        raise BadRequest(f"The job file must hold one Create{kind} request. Received: {received}")
    refuse_others(request, command, path)
    return _request_of(request, f"Create{kind}") if f"{kind}Status" in request else request


def refuse_others(value: Mapping[str, Any], command: str, path: Path) -> None:
    """BadRequest for a file that is another command's than train, tune or pipeline, whichever reads it."""
    for member, (noun, own) in _COMMANDS.items():
        if member in value and command != own:
            raise BadRequest(f"This is a {noun}: use {own}. Received: {path}")


def _request_of(description: Mapping[str, Any], operation: str) -> dict[str, Any]:
    """Without what the service adds: no channels, and the resources of a definition, told twice."""
    members = service_model().operation_model(operation).input_shape.members
    request = {name: copy.deepcopy(value) for name, value in description.items() if name in members and value != []}
    for definition in (request.get("TrainingJobDefinition", {}), *request.get("TrainingJobDefinitions", [])):
        if "HyperParameterTuningResourceConfig" in definition:
            definition.pop("ResourceConfig", None)
    return request


def build(
    job: Mapping[str, Any], options: Options, out: Path, now: datetime, data: Path = Path("data")
) -> dict[str, Any]:
    """The request of a local run: `job` with the options laid over it and its placeholders filled in.

    `<name>` becomes a name with the time in it, `<image>` and `<role>` local ones; an S3 URI in `<bucket>` becomes the
    folder where that thing is locally: a channel the prepared data, outputs and checkpoints the job's own folder.
    BadRequest names what is wrong with the job, or can't be filled in.
    """
    places = {"<name>": options.name or timed_name(BASE_NAME, now), "<image>": LOCAL_IMAGE}
    request = fill_placeholders(copy.deepcopy({"TrainingJobName": "<name>", **job}), places)
    validate(request)  # from here on everything is of the type that it should be
    _apply_options(request, options)
    _set_channels(request, options.channels)
    _fill_channels(request, data)
    _fill_outputs(request, out)
    for path, value in _strings(request, ""):
        if _PLACEHOLDER.search(value):
            raise BadRequest(f"{path} has a placeholder that has no local value. Received: {value}")
    return request


def timed_name(base: str, now: datetime) -> str:
    """<base>-YYYY-MM-DD-HH-MM-SS-mmm, as the SDKs name jobs; the base is cut to what the service allows."""
    time = f"{now:%Y-%m-%d-%H-%M-%S}-{now.microsecond // 1000:03d}"
    return f"{base[: _NAME_LIMIT - len(time) - 1].rstrip('-')}-{time}"


def fill_placeholders(value: Any, places: Mapping[str, str]) -> Any:
    """The same with `<…>` replaced wherever it stands: by what `places` has for it, and a text with <role> by the local
    role. Others stay."""
    if isinstance(value, dict):
        return {key: fill_placeholders(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_placeholders(item, places) for item in value]
    if not isinstance(value, str):
        return value
    return LOCAL_ROLE if "<role>" in value else PLACEHOLDER.sub(lambda found: places.get(found[0], found[0]), value)


def _apply_options(request: dict[str, Any], options: Options) -> None:
    if options.name:
        request["TrainingJobName"] = options.name
    if options.image:
        request.setdefault("AlgorithmSpecification", {})["TrainingImage"] = options.image
    if options.input_mode:
        _set_mode(request, options.input_mode)
    _set_values(request, options)
    if options.instance_count is not None:
        request.setdefault("ResourceConfig", {})["InstanceCount"] = options.instance_count
    if options.max_runtime is not None:
        request["StoppingCondition"] = {
            **request.get("StoppingCondition", {}),
            "MaxRuntimeInSeconds": options.max_runtime,
        }
    if options.checkpoints:
        uri = file_uri(options.checkpoints)
        request["CheckpointConfig"] = {**request.get("CheckpointConfig", {}), "S3Uri": uri}


def _names_script(members: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a job with these runs a script of its own, in the training toolkit's script mode."""
    return "sagemaker_program" in members["HyperParameters"] or "SAGEMAKER_PROGRAM" in members["Environment"]


def _set_values(request: dict[str, Any], options: Options) -> None:
    """The hyperparameters and the environment. A script gets none of the program's that it replaces, as options."""
    given = {"HyperParameters": options.hyperparameters, "Environment": options.environment}
    before = {member: request.get(member, {}) for member in given}
    if _names_script(given) and not _names_script(before):
        request.pop("HyperParameters", None)
    for member, values in given.items():
        if values:
            request[member] = {**request.get(member, {}), **values}


def _set_mode(request: dict[str, Any], mode: str) -> None:
    """The job's mode, and that of channels which spell out the job's; a channel that differs, or that is no stream,
    keeps its own."""
    algorithm = request.setdefault("AlgorithmSpecification", {})
    before, algorithm["TrainingInputMode"] = algorithm.get("TrainingInputMode"), mode
    for channel in request.get("InputDataConfig", []):
        if channel.get("InputMode") == before and before and channel["ChannelName"] not in _FILE_CHANNELS:
            channel["InputMode"] = mode


def _set_channels(request: dict[str, Any], places: Mapping[str, str]) -> None:
    """Another place for a channel that the job has, its other members kept; or a new channel. Its mode is the one that
    the place ends in, else File for what is no stream, else the job's."""
    for name, text in places.items():
        place, mode = _split_mode(text)
        if not place:
            raise BadRequest(f"Channel {name}: no file, folder or s3:// address. Received: {text!r}")
        uri = place if "://" in place else file_uri(Path(place))
        channels = request.setdefault("InputDataConfig", [])
        channel = next((channel for channel in channels if channel["ChannelName"] == name), None)
        if channel:
            channel["DataSource"].setdefault("S3DataSource", {"S3DataType": "S3Prefix"})["S3Uri"] = uri
        else:
            source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
            channel = {"ChannelName": name, "DataSource": {"S3DataSource": source}}
            channels.append(channel)
        if mode:
            channel["InputMode"] = mode
        elif name in _FILE_CHANNELS:
            channel.setdefault("InputMode", "File")
        path = local_path(uri)
        if path and not path.exists():
            raise BadRequest(f"Channel {name}: there is no such file or folder. Received: {place}")


def _split_mode(text: str) -> tuple[str, str]:
    """(place, mode) of PLACE or PLACE:MODE; a file or folder whose own name ends like that is a place."""
    place, colon, mode = text.rpartition(":")
    is_mode = colon and mode in MODES and ("://" in text or not Path(text).exists())
    return (place, mode) if is_mode else (text, "")


def _fill_channels(request: dict[str, Any], data: Path) -> None:
    """Prepared data lies together, so where train was put, the others are beside it."""
    channels = request.get("InputDataConfig", [])
    train = next((local_path(_uri(channel)) for channel in channels if channel["ChannelName"] == "train"), None)
    root = train.parent if train else data
    places = {"train": root / "train", "validation": root / "validation", "dataset": root / "dataset.json"}
    for channel in list(channels):
        name = channel["ChannelName"]
        if "<bucket>" not in _uri(channel):
            continue
        if name == "dataset" and not places[name].exists():
            channels.remove(channel)  # it describes the others; they can be trained on without
        else:
            channel["DataSource"]["S3DataSource"]["S3Uri"] = _prepared(name, places)


def _prepared(name: str, places: Mapping[str, Path]) -> str:
    if name not in places:
        raise BadRequest(f"Channel {name} has no local data. Name it with --channel {name}=PATH")
    if not places[name].exists():
        raise BadRequest(
            f"Channel {name}: there is no {places[name]}. Run python -m dataset prepare, "
            f"or name it with --channel {name}=PATH"
        )
    return file_uri(places[name])


def _uri(channel: Mapping[str, Any]) -> str:
    return channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")


def _fill_outputs(request: dict[str, Any], out: Path) -> None:
    checkpoints = request.get("CheckpointConfig", {})
    for member in _OUTPUTS:
        if "<bucket>" in request.get(member, {}).get("S3OutputPath", ""):
            request[member]["S3OutputPath"] = file_uri(out)
    if "<bucket>" in checkpoints.get("S3Uri", ""):
        checkpoints["S3Uri"] = file_uri(out / request["TrainingJobName"] / "checkpoints")


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]")
    elif isinstance(value, str):
        yield path, value


def parse_pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """K=V texts as a mapping; BadRequest for one without =, or for a second value of the same name."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadRequest(f"{option} takes NAME=VALUE. Received: {text}")
        if name in found:
            raise BadRequest(f"{option} {name} has one value. Received: {found[name]} and {value}")
        found[name] = value
    return found
