"""A program that leaves links and FIFOs where the platform reads: nothing outside of its tree is reached."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local_test.errors import BadRequest
from local_test.runners.process import ProcessRunner
from local_test.util.atomic_files import file_uri
from tests.support.local_jobs import Recorder, request_for

Program = Callable[[str], ProcessRunner]
Run = Callable[..., tuple[dict[str, Any], Recorder, Path]]
SECRET = b"of the user's"
# each with what it is to replace: a folder goes aside, its name becomes a link
REPLACED = {
    "model": "BASE / 'model'",
    "output/data": "BASE / 'output/data'",
    "output": "BASE / 'output'",
    "checkpoints": "BASE / 'checkpoints'",
    "tensorboard": "BASE / 'output/tensorboard'",
}
LINKS = """
for folder in ("model", "output/data", "checkpoints", "output/tensorboard"):
    for number, target in enumerate((SECRET / "key", SECRET, "/proc/self/environ", "../../../..")):
        (BASE / folder / str(number)).symlink_to(target)
    os.mkfifo(BASE / folder / "fifo")
(BASE / "output/failure").symlink_to(SECRET / "key")
sys.exit(3)
"""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_bytes(SECRET)
    return tmp_path / "secret"


def hostile_request(tmp_path: Path) -> dict[str, Any]:
    return request_for(
        "hostile", tmp_path / "out",
        CheckpointConfig={"S3Uri": file_uri(tmp_path / "kept/checkpoints")},
        TensorBoardOutputConfig={"S3OutputPath": file_uri(tmp_path / "kept/events")},
    )  # fmt: skip


def assert_nothing_got_out(tmp_path: Path, folder: Path, description: dict[str, Any]) -> None:
    for archive in (folder / "model.tar.gz", folder / "output.tar.gz"):
        with tarfile.open(archive) as tar:
            assert not [member.name for member in tar.getmembers() if member.isfile()]
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert kept == []
    assert SECRET.decode() not in str(description)


@pytest.mark.parametrize("place", REPLACED)
def test_a_folder_replaced_by_a_link(program: Program, run: Run, tmp_path: Path, secret: Path, place: str) -> None:
    code = f"folder = {REPLACED[place]}\nfolder.rename(BASE / 'aside')\nfolder.symlink_to({str(secret)!r})"
    description, seen, folder = run(program(code), hostile_request(tmp_path))
    assert description["TrainingJobStatus"] == "Completed"
    assert_nothing_got_out(tmp_path, folder, description)
    assert ("algo-1: /opt/ml/model is not a folder any more, so nothing of it is kept" in seen.notes) is (
        place == "model"
    )
    assert (secret / "key").read_bytes() == SECRET


def test_links_and_fifos_inside_the_folders(program: Program, run: Run, tmp_path: Path, secret: Path) -> None:
    runner = program(f"SECRET = Path({str(secret)!r})\n{LINKS}")
    description, _, folder = run(runner, hostile_request(tmp_path))
    assert (description["TrainingJobStatus"], description["FailureReason"]) == (
        "Failed", "AlgorithmError: , exit code: 3",
    )  # fmt: skip
    assert_nothing_got_out(tmp_path, folder, description)


@pytest.mark.parametrize(
    ("place", "length", "depth"), [("model", 1, 1200), ("model", 200, 25), ("checkpoints", 200, 25)]
)
def test_folders_inside_each_other_without_end(
    program: Program, run: Run, tmp_path: Path, place: str, length: int, depth: int
) -> None:
    """They are removed; those that no path leads to are not kept."""
    name = "a" * length
    deep = f"os.chdir(BASE / {place!r})\nfor _ in range({depth}):\n    os.mkdir({name!r}); os.chdir({name!r})"
    description, _, folder = run(program(deep), hostile_request(tmp_path))
    if length == 1:
        assert description["TrainingJobStatus"] == "Completed"
    else:
        assert "lies too deep. Received: 'aaa" in description["FailureReason"]
    assert not (folder / "algo-1").exists()


def test_a_model_that_is_a_file_or_missing_keeps_the_output(program: Program, run: Run, tmp_path: Path) -> None:
    code = "(BASE / 'model').rmdir()\n(BASE / 'model').write_text('x')\n(BASE / 'output/data/a').write_text('y')"
    description, seen, folder = run(program(code), request_for("odd", tmp_path / "out"))
    assert description["TrainingJobStatus"] == "Completed"
    assert "algo-1: /opt/ml/model is not a folder any more, so nothing of it is kept" in seen.notes
    with tarfile.open(folder / "output.tar.gz") as tar:
        assert tar.getnames() == ["a"]


@pytest.mark.parametrize("place", ["model", "checkpoints"])
@pytest.mark.parametrize("output", [{}, {"CompressionType": "NONE"}])
def test_a_file_of_holes_without_end(
    program: Program, run: Run, tmp_path: Path, place: str, output: dict[str, str]
) -> None:
    """It would be read, and written, for days."""
    code = f"os.truncate(os.open(BASE / '{place}/large', os.O_CREAT | os.O_WRONLY), 1 << 43)"
    request = hostile_request(tmp_path)
    request["OutputDataConfig"] |= output
    description, _, _ = run(program(code), request)
    expected = "It is a file of holes, larger than its disk. Received: large, 8796093022208 bytes"
    assert description["FailureReason"].endswith(f" upload failed:{expected}")


def test_a_failure_of_many_bytes_is_read_to_its_start(program: Program, run: Run, tmp_path: Path) -> None:
    code = "file = open(BASE / 'output/failure', 'wb')\nfile.write(b'why')\nfile.truncate(1 << 40)\nsys.exit(1)"
    description, _, _ = run(program(code), request_for("large", tmp_path / "out"))
    assert description["FailureReason"].startswith("AlgorithmError: why")


@pytest.mark.parametrize(
    "path",
    ["/opt/ml/../../x", "/opt/ml/checkpoints/../../../x", "..", "x", "/", "/opt/ml", "/opt/ml/input/data", "/x/../y"],
)
@pytest.mark.parametrize("config", ["CheckpointConfig", "TensorBoardOutputConfig"])
def test_a_local_path_that_leads_out_is_refused(
    program: Program, run: Run, tmp_path: Path, path: str, config: str
) -> None:
    request = hostile_request(tmp_path)
    request[config]["LocalPath"] = path
    with pytest.raises(BadRequest, match=rf"{config}\.LocalPath must be the absolute path of a folder"):
        run(program(""), request)
    assert not (tmp_path / "jobs").exists()
