"""Files written whole or not at all, and file:// URIs: the local extension of an S3Uri."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from local_test.errors import BadRequest

FILE_SCHEME = "file://"
# what reading a file of this program's own may raise that a power cut, a full disk or a person has damaged
DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)
_MOST_JSON = 1 << 24  # characters of a file that a person names


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write` gets a file beside `path` that takes its name once it is on disk; after an error nothing is left.

    OSError for what is no regular file: a device or a FIFO would be replaced by a file."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is there, and no regular file", str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Indented, for people; times as ISO 8601."""
    write_text(path, f"{as_json(value)}\n")


def write_text(path: Path, text: str) -> None:
    """The files of a job's folder, for this user alone: they hold its Environment."""

    def write(file: BinaryIO) -> None:
        os.fchmod(file.fileno(), 0o600)
        file.write(text.encode())

    write_whole(path, write)


def as_json(value: Any) -> str:
    """Indented, for people; times as ISO 8601."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=_time)


@contextmanager
def new_folder(folder: Path, what: str) -> Iterator[None]:
    """A folder whose name is a thing's name. It stays if all that is written while inside succeeds; else nothing of it
    is left, and the name is free. FileExistsError if it is there already, BadRequest if it can't be written."""
    folder.mkdir()
    try:
        yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise BadRequest(f"{what} can't be kept: {error.strerror}. Received: {folder}") from None
        if isinstance(error, UnicodeEncodeError):
            raise BadRequest(
                f"{what} has half of a surrogate pair, which is no text. Received: {error.object!a}"
            ) from None
        raise


def check_folder(path: Path, what: str) -> None:
    """BadRequest, which begins with `what`, unless it is a folder that can be written to, or can be made one."""
    there = next(one for one in (path, *path.absolute().parents) if os.access(one, os.F_OK))
    if not there.is_dir():
        raise BadRequest(f"{what} must be a folder. Received: {there}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise BadRequest(f"{what} must be a folder that can be written to. Received: {there}")


def remove_tree(folder: Path) -> list[str]:
    """What can't be removed, a line each; nothing is raised. By the system's `rm` where Python can't: a program may
    leave more folders inside each other than that goes down. And it may take away its user's own right to write there,
    which is given back."""
    with suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if not os.path.lexists(folder):
        return []
    command = ["rm", "-rf", "--", str(folder)]
    apart: dict[str, Any] = {"stderr": subprocess.PIPE, "process_group": 0}  # of a terminal's Ctrl-C
    try:
        if subprocess.run(command, check=False, **apart).returncode == 0:
            return []
        subprocess.run(["chmod", "-R", "u+rwx", "--", str(folder)], check=False, **apart)
        return subprocess.run(command, check=False, **apart).stderr.decode(errors="replace").splitlines()
    except OSError as error:  # no process can be started, such as for too many open files
        return [f"{folder}: {error.strerror}"]


def read_json(path: Path, what: str) -> Any:
    """The value of a JSON file. BadRequest if it can't be read; the message begins with `what`."""
    try:
        with path.open(
            encoding="utf-8-sig"
        ) as file:  # Windows begins files with a mark; a device has no end, a FIFO of the shell's has
            text = file.read(_MOST_JSON + 1)
        if len(text) > _MOST_JSON:
            raise BadRequest(f"{what} is too large. Received: {path}. Expected: at most {_MOST_JSON} characters")
        return json.loads(text)
    except OSError as error:
        raise BadRequest(f"{what} can't be read: {error.strerror}. Received: {path}") from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{what} is not JSON: {error}. Received: {path}") from None


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    raise TypeError(f"{value!r} has no place in JSON")


def file_uri(path: Path) -> str:
    """file:///absolute/path; names with spaces are percent-encoded."""
    return Path(os.path.abspath(path)).as_uri()  # noqa: PTH100 - resolve() would follow links


def refuse_file(uri: str, where: str = "") -> BadRequest:
    """What a request over the API gets: who can send one must not thereby read and write this user's files."""
    return BadRequest(
        f"{where and f'{where}: '}A request over the API may not name this machine's files. Received: {uri}. Put the "
        "data into S3, or start serve with --allow-files"
    )


def local_path(uri: str) -> Path | None:
    """The path of a file:// URI, None of any other. BadRequest for one that no file can have."""
    if not uri.startswith(FILE_SCHEME):
        return None
    path = unquote(urlsplit(uri).path)
    if "\0" in path:
        raise BadRequest(f"no file has a name with the character U+0000. Received: {uri!r}")
    return Path(path)
