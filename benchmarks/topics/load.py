"""Answers of the local API under load: 50 jobs queued at once, 20 clients that ask about them until all are over."""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.local_api import build_job, run_server
from benchmarks.measure import describe_machine, print_table, run_together

JOBS, CLIENTS = 50, 20
OVER = ("Completed", "Failed", "Stopped")


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as scratch, run_server(Path(scratch, "api")) as client:
        names = [f"load-{number}" for number in range(JOBS)]
        clients = {name: client("sagemaker") for name in names}
        watching = [client("sagemaker") for _ in range(CLIENTS)]
        began = time.perf_counter()
        created = time_calls(lambda name: clients[name].create_training_job(**build_job(name, "echo done")), names)
        described: list[float] = []
        run_together(partial(watch, sagemaker, names, described) for sagemaker in watching)
        seconds = time.perf_counter() - began
        found = client("sagemaker").list_training_jobs(StatusEquals="Completed", MaxResults=100)
        completed = len(found["TrainingJobSummaries"])
    rows = [row("CreateTrainingJob", created), row("DescribeTrainingJob", described)]
    title = f"{JOBS} jobs at once, {CLIENTS} clients; {completed} completed in {seconds:.0f} s; {describe_machine()}"
    print_table(title, ["operation", "answers", "median s", "99 % within s", "longest s"], rows)


def row(name: str, taken: list[float]) -> list[str]:
    """Figures of an operation's answers."""
    ordered = sorted(taken)
    places = [ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1]]
    return [name, str(len(ordered)), *(f"{seconds:.3f}" for seconds in places)]


def time_calls(call: Any, names: list[str]) -> list[float]:
    """Seconds of a call for each name, all at once."""
    taken: list[float] = []

    def one(name: str) -> None:
        began = time.perf_counter()
        call(name)
        taken.append(time.perf_counter() - began)

    run_together(partial(one, name) for name in names)
    assert len(taken) == len(names), "a request failed; its traceback is above"
    return taken


def watch(sagemaker: Any, names: list[str], taken: list[float]) -> None:
    """Describe every job over and over until it is over."""
    left = set(names)
    while left:
        for name in sorted(left):
            began = time.perf_counter()
            status = sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
            taken.append(time.perf_counter() - began)
            if status in OVER:
                left.discard(name)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
