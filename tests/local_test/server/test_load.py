"""Many jobs and many clients at once: nothing is lost, every client is answered."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.served import BUCKET, Served, ended, request

JOBS, CLIENTS = 50, 20
_PAUSE = 0.1  # between two requests of a client; the clients share one process, whose own speed is not what is measured


@pytest.mark.slow
def test_50_jobs_queued_at_once_and_20_clients(tmp_path: Path) -> None:
    with Served(tmp_path, "--parallel", "2") as served:
        served.client("s3").create_bucket(Bucket=BUCKET)
        sagemaker = served.client("sagemaker")
        names = [f"job-{n:02d}" for n in range(JOBS)]
        over, answered, broken = threading.Event(), [], []

        def look(client: Any, first: int) -> None:
            """Describe one job after the other; its states only ever go forward."""
            seen: dict[str, int] = {}
            number = first
            while not over.wait(_PAUSE):
                name = names[number % JOBS]
                number += 1
                try:
                    description = client.describe_training_job(TrainingJobName=name)
                except client.exceptions.ClientError as error:
                    if "not found" not in str(error):
                        broken.append(str(error))
                    continue
                answered.append(name)
                steps = len(description["SecondaryStatusTransitions"])
                if steps < seen.get(name, 0):
                    broken.append(f"{name} went back")
                seen[name] = steps

        clients = [served.client("sagemaker") for _ in range(CLIENTS)]
        threads = [threading.Thread(target=look, args=(client, n * 3)) for n, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        try:
            with ThreadPoolExecutor(JOBS) as pool:
                jobs = [request(name, "print('ran', flush=True)") for name in names]
                for _ in pool.map(lambda job: sagemaker.create_training_job(**job), jobs):
                    pass  # raises what a request raised
            descriptions = [ended(sagemaker, name) for name in names]
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert {description["TrainingJobStatus"] for description in descriptions} == {"Completed"}
        assert broken == []
        assert len(answered) > JOBS
        for name in names:
            assert (served.root / f"training/{name}/logs/algo-1.log").read_text() == "ran\n"
        listed = sagemaker.get_paginator("list_training_jobs").paginate(StatusEquals="Completed")
        assert sorted(job["TrainingJobName"] for page in listed for job in page["TrainingJobSummaries"]) == names
