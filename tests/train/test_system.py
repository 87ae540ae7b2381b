import os

from train import environment, system


def test_the_facts_are_this_machines(tmp_path):
    facts = system.facts(environment.read(tmp_path))
    assert facts["host"] == "algo-1/1"
    assert facts["cores"] == str(len(os.sched_getaffinity(0)))
    assert 0.1 < float(facts["memory"].removesuffix("GiB")) < 100_000
    assert facts["tensorflow"].startswith("2.")
    assert all(" " not in value for value in facts.values())
