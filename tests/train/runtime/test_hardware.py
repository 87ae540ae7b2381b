import pytest

from train.runtime import environment, hardware


def test_the_facts_are_this_machines(tmp_path):
    facts = hardware.describe(environment.read(tmp_path))
    assert facts["host"] == "algo-1/1"
    assert facts["cores"] == str(hardware.count_cores())
    assert 0.1 < float(facts["memory"].removesuffix("GiB")) < 100_000
    assert facts["tensorflow"].startswith("2.")
    assert all(" " not in value for value in facts.values())


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_cores_are_those_of_the_control_group(tmp_path, monkeypatch, files, share):
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert hardware.count_cores(tmp_path) == (share or 4)
