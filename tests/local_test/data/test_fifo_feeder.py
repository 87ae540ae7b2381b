"""Real FIFOs, real readers: every one of them may leave, stay away or come late."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from local_test.data.channels import Content
from local_test.data.fifo_feeder import Feeder, FeedProgress
from local_test.errors import DataError


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Feeder]]:
    """Starts feeders and stops them at the end."""
    started: list[Feeder] = []

    def start(contents: Callable[[int], Iterator[Content]], **options: object) -> Feeder:
        feeder = Feeder(tmp_path / "train", contents, **options)  # type: ignore[arg-type]
        started.append(feeder)
        feeder.start()
        return feeder

    yield start
    for feeder in started:
        feeder.stop()
        assert not feeder.alive
    assert not list(tmp_path.glob("train_*"))


def read(path: Path) -> bytes:
    """One epoch, waiting until its FIFO is there, as a training program does."""
    until_exists(path)
    return path.read_bytes()


def until_exists(path: Path) -> None:
    deadline = time.monotonic() + 100
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        threading.Event().wait(0.002)


def files(folder: Path, *contents: bytes) -> list[Path]:
    paths = [folder / f"shard-{index}" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def test_every_opening_gets_an_epoch_of_its_own(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    first = os.urandom(3_000_000)  # more than a pipe holds
    paths = files(tmp_path, first, b"tail")
    feeder = serve(lambda n: iter([*paths, iter([b"epoch ", str(n).encode()])]))
    for n in range(3):
        assert read(feeder.path(n)) == first + b"tail" + b"epoch %d" % n


def test_the_next_fifo_is_there_while_the_first_is_being_read(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    paths = files(tmp_path, b"x" * 5_000_000)
    feeder = serve(lambda _: iter(paths))
    with feeder.path(0).open("rb", buffering=0) as fifo:
        fifo.read(1)
        until_exists(feeder.path(1))
        assert not feeder.path(2).exists()


def test_a_served_fifo_is_removed(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    feeder = serve(lambda _: iter(files(tmp_path, b"x")))
    read(feeder.path(0))
    read(feeder.path(1))
    assert not feeder.path(0).exists()


def test_readers_that_close_at_any_point_go_on_with_the_next_fifo(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    content = os.urandom(2_500_000)
    paths = files(tmp_path, content[:1_200_000], content[1_200_000:])
    ends: list[FeedProgress] = []
    feeder = serve(lambda _: iter(paths), on_feed=lambda fed: ends.append(fed) if fed.end else None)
    dice = random.Random(0)
    for n in range(30):
        until_exists(feeder.path(n))
        size = dice.choice([0, 1, dice.randrange(len(content)), len(content)])
        with feeder.path(n).open("rb") as fifo:
            assert fifo.read(size) == content[:size]
    assert read(feeder.path(30)) == content
    assert read(feeder.path(31)) == content  # so the end of 30 has been told
    assert [fed.n for fed in ends[:31]] == list(range(31))
    assert ends[30] == FeedProgress("train", 30, len(content), "all")
    assert any(fed.end == "early" for fed in ends)


def test_a_reader_that_opens_and_closes_at_once_takes_a_fifo(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    paths = files(tmp_path, b"x" * 4_000_000)
    feeder = serve(lambda _: iter(paths))
    os.close(os.open(feeder.path(0), os.O_RDONLY))
    assert len(read(feeder.path(1))) == 4_000_000


def test_a_reader_may_open_without_blocking(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    feeder = serve(lambda _: iter([iter([b"abc"])]))
    fd = os.open(feeder.path(0), os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    until_exists(feeder.path(1))  # made once the writer has come
    with os.fdopen(fd, "rb") as fifo:
        assert fifo.read() == b"abc"


def test_stops_at_once_though_no_reader_ever_came(tmp_path: Path) -> None:
    feeder = Feeder(tmp_path / "train", lambda _: iter(()))
    feeder.start()
    began = time.monotonic()
    feeder.stop()
    assert time.monotonic() - began < 60
    assert not feeder.alive
    assert not list(tmp_path.iterdir())


def test_stops_at_once_though_the_reader_has_stopped_reading(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    paths = files(tmp_path, b"x" * 8_000_000)
    feeder = serve(lambda _: iter(paths))
    with feeder.path(0).open("rb", buffering=0) as fifo:
        fifo.read(1)
        began = time.monotonic()
        feeder.stop()
        assert time.monotonic() - began < 60
        assert not feeder.alive


def test_stops_while_the_reader_is_fast(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1 << 16)

    feeder = serve(lambda _: iter([endless()]))
    started = threading.Event()

    def drain() -> None:
        with feeder.path(0).open("rb", buffering=0) as fifo:
            while fifo.read(1 << 20):
                started.set()

    reader = threading.Thread(target=drain)
    reader.start()
    assert started.wait(100)
    feeder.stop()
    reader.join(100)
    assert not reader.is_alive()


def test_waiting_costs_no_processor_time(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    paths, before = files(tmp_path, b"x" * 8_000_000), set(threading.enumerate())
    absent = Feeder(tmp_path / "other", lambda _: iter(()))
    absent.start()
    feeder = serve(lambda _: iter(paths))
    clocks = [time.pthread_getcpuclockid(thread.ident) for thread in set(threading.enumerate()) - before]
    assert len(clocks) == 2
    with feeder.path(0).open("rb", buffering=0) as fifo:
        fifo.read(1)
        until_exists(feeder.path(1))
        spent, this_thread = sum(map(time.clock_gettime, clocks)), time.thread_time()
        while time.thread_time() - this_thread < 0.2:
            pass
        assert sum(map(time.clock_gettime, clocks)) - spent < 0.05
    absent.stop()


def test_a_file_that_is_gone_ends_feeding_without_an_end_of_file(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    present, gone = files(tmp_path, b"whole", b"")
    gone.unlink()
    errors: list[Exception] = []
    failed = threading.Event()

    def fail(error: Exception) -> None:
        errors.append(error)
        failed.set()

    feeder = serve(lambda _: iter([present, gone]), on_error=fail)
    fd = os.open(feeder.path(0), os.O_RDONLY)
    assert failed.wait(100)
    assert os.read(fd, 100) == b"whole"
    os.set_blocking(fd, False)
    with pytest.raises(BlockingIOError):  # not b"": that would look like a whole epoch
        os.read(fd, 100)
    os.close(fd)
    assert "shard-1" in str(errors[0])


def test_a_file_that_shrinks_while_it_is_fed_is_an_error(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    (path,) = files(tmp_path, b"x" * 6_000_000)
    errors: list[Exception] = []
    failed = threading.Event()
    feeder = serve(lambda _: iter([path]), on_error=lambda error: (errors.append(error), failed.set()))
    fd = os.open(feeder.path(0), os.O_RDONLY)
    assert os.read(fd, 1)
    os.truncate(path, 3_000_000)
    os.set_blocking(fd, False)
    deadline = time.monotonic() + 100
    while not failed.wait(0.001):
        assert time.monotonic() < deadline
        try:
            os.read(fd, 1 << 20)
        except BlockingIOError:
            continue
    os.close(fd)
    assert isinstance(errors[0], DataError)
    assert "bytes shorter while it was fed" in str(errors[0])


def test_what_is_added_to_a_file_while_it_is_fed_belongs_to_the_next_epoch(
    tmp_path: Path, serve: Callable[..., Feeder]
) -> None:
    (path,) = files(tmp_path, b"x" * 5_000_000)
    feeder = serve(lambda _: iter([path]))
    with feeder.path(0).open("rb") as fifo:
        assert fifo.read(1)
        with path.open("ab") as file:
            file.write(b"y" * 10)
        assert fifo.read() == b"x" * 4_999_999
    assert read(feeder.path(1)).endswith(b"y" * 10)


def test_ends_by_itself_after_its_epochs(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    feeder = serve(lambda n: iter([iter([b"%d" % n])]), epochs=2)
    assert [read(feeder.path(0)), read(feeder.path(1))] == [b"0", b"1"]
    feeder.join(100)
    assert not feeder.alive


def test_a_fifo_left_by_a_killed_feeder_is_used(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    os.mkfifo(tmp_path / "train_0", 0o600)
    feeder = serve(lambda _: iter([iter([b"x"])]))
    assert feeder.path(0).stat().st_mode & 0o777 == 0o644
    assert read(feeder.path(0)) == b"x"


def test_a_file_in_the_place_of_the_fifo_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train_0").write_text("mine")
    feeder = Feeder(tmp_path / "train", lambda _: iter(()))
    with pytest.raises(DataError, match=r"can't make the FIFO .*train_0"):
        feeder.start()
    feeder.stop()
    assert (tmp_path / "train_0").read_text() == "mine"


def test_a_file_in_the_place_of_the_next_fifo_is_an_error_too(tmp_path: Path) -> None:
    (tmp_path / "train_1").write_text("mine")
    failed = threading.Event()
    feeder = Feeder(tmp_path / "train", lambda _: iter(()), on_error=lambda _: failed.set())
    feeder.start()
    with feeder.path(0).open("rb"):
        assert failed.wait(100)
    feeder.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["train_1"]


def test_fifos_can_be_read_by_another_user_whatever_the_umask(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    before = os.umask(0o077)
    try:
        feeder = serve(lambda _: iter([iter([b"x"])]))
    finally:
        os.umask(before)
    assert feeder.path(0).stat().st_mode & 0o777 == 0o644
    read(feeder.path(0))


def test_falls_back_to_copying_where_the_file_system_cannot_splice(
    tmp_path: Path, serve: Callable[..., Feeder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_splice(*args: object, **options: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "splice", no_splice)
    paths = files(tmp_path, b"x" * 3_000_000)
    feeder = serve(lambda _: iter(paths))
    assert read(feeder.path(0)) == b"x" * 3_000_000


def test_10_000_objects_pass_through_one_fifo(tmp_path: Path, serve: Callable[..., Feeder]) -> None:
    (tmp_path / "objects").mkdir()
    paths = [tmp_path / f"objects/{number:05d}" for number in range(10_000)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%05d" % number)
    feeder = serve(lambda _: iter(paths))
    for turn in range(2):
        assert read(feeder.path(turn)) == b"".join(b"%05d" % number for number in range(10_000))


# A program owns the folder: what has a FIFO's name may be its own, and lead anywhere.


@pytest.fixture
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of this machine, outside of the program's folder."""
    path = tmp_path_factory.mktemp("host") / "secret"
    path.write_text("mine")
    path.chmod(0o600)
    return path


def untouched(secret: Path) -> bool:
    return secret.read_text() == "mine" and secret.stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_place_of_the_first_fifo_is_not_followed(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "train_0").symlink_to(secret)
    feeder = Feeder(tmp_path / "train", lambda _: iter([iter([b"overwritten"])]))
    with pytest.raises(DataError, match=r"can't make the FIFO .*train_0: something else has its name"):
        feeder.start()
    feeder.stop()
    assert untouched(secret)
    assert (tmp_path / "train_0").is_symlink()


def test_a_link_to_a_fifo_elsewhere_is_not_followed(tmp_path: Path, secret: Path) -> None:
    os.mkfifo(secret.with_name("fifo"), 0o600)
    (tmp_path / "train_0").symlink_to(secret.with_name("fifo"))
    feeder = Feeder(tmp_path / "train", lambda _: iter(()))
    with pytest.raises(DataError, match="something else has its name"):
        feeder.start()
    assert secret.with_name("fifo").stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_place_of_the_next_fifo_is_an_error_and_not_followed(tmp_path: Path, secret: Path) -> None:
    errors: list[Exception] = []
    failed = threading.Event()
    feeder = Feeder(
        tmp_path / "train",
        lambda _: iter([iter([b"overwritten"])]),
        on_error=lambda error: (errors.append(error), failed.set()),  # type: ignore[arg-type,return-value]
    )
    (tmp_path / "train_1").symlink_to(secret)
    feeder.start()
    with feeder.path(0).open("rb"):
        assert failed.wait(100)
    feeder.stop()
    assert untouched(secret)
    assert "train_1: something else has its name" in str(errors[0])


@pytest.mark.parametrize("kind", ["link", "file", "nothing"])
def test_a_fifo_that_is_replaced_while_it_waits_for_its_reader(tmp_path: Path, secret: Path, kind: str) -> None:
    feeder = Feeder(tmp_path / "train", lambda _: iter([iter([b"overwritten"])]))
    feeder.start()
    path = feeder.path(0)
    path.rename(tmp_path / "moved")
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "file":
        path.write_text("the program's")
    feeder.stop()
    assert not feeder.alive
    assert untouched(secret)
    if kind == "link":
        assert path.is_symlink()
    if kind == "file":
        assert path.read_text() == "the program's"  # neither written nor removed


def test_a_folder_that_is_replaced_by_a_link(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    feeder = Feeder(folder / "train", lambda n: iter([iter([b"%d" % n])]))
    feeder.start()
    folder.rename(tmp_path / "moved")
    folder.symlink_to(secret.parent)
    assert read(tmp_path / "moved/train_0") == b"0"
    assert read(tmp_path / "moved/train_1") == b"1"
    feeder.stop()
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]
    assert not list((tmp_path / "moved").iterdir())


def test_a_fifo_whose_permissions_are_taken_does_not_keep_the_feeder(tmp_path: Path) -> None:
    feeder = Feeder(tmp_path / "train", lambda _: iter(()))
    feeder.start()
    feeder.path(0).chmod(0)
    feeder.stop()
    assert not feeder.alive


def test_a_hostile_process_that_swaps_names_all_the_time(tmp_path: Path, secret: Path) -> None:
    """Whatever it hits between two steps of the feeder, nothing outside of its folder is touched, and `stop` ends."""
    folder = tmp_path / "data"
    folder.mkdir()
    swap = (
        "import itertools, os, sys\n"
        "folder, secret = sys.argv[1:]\n"
        "print('go', flush=True)\n"
        "for turn in itertools.count():\n"
        "    name = f'{folder}/train_{turn % 40}'\n"
        "    os.symlink(secret, f'{folder}/link')\n"
        "    os.rename(f'{folder}/link', name)\n"
        "    if turn % 3 == 0:\n"
        "        os.unlink(name)\n"
    )
    for _ in range(5):
        errors: list[Exception] = []
        with subprocess.Popen(
            [sys.executable, "-I", "-c", swap, str(folder), str(secret)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == b"go\n"
            try:
                for _ in range(100):
                    feeder = Feeder(
                        folder / "train", lambda _: iter([iter([b"overwritten"])]), on_error=errors.append, epochs=40
                    )
                    with suppress(DataError):
                        feeder.start()
                        reader = os.open(f"/proc/self/fd/{feeder._fifos[0]._held}", os.O_RDONLY | os.O_NONBLOCK)
                        feeder.join(0.001)
                        os.close(reader)
                    feeder.stop()
                    assert not feeder.alive
            finally:
                process.kill()
        assert untouched(secret)
        assert all("train_" in str(error) for error in errors)
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]
