import json
from dataclasses import replace

import pytest

from train.errors import TrainingError
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


GPU_HOST = {"current_host": "algo-1", "hosts": ["algo-1"], "current_instance_type": "ml.g5.xlarge"}


def host_with_gpu(root, **variables):
    """A GPU instance's environment, and a /dev with one of NVIDIA's devices."""
    (root / "input/config").mkdir(parents=True)
    (root / "input/config/resourceconfig.json").write_text(json.dumps(GPU_HOST))
    (root / "dev").mkdir()
    (root / "dev/nvidia0").touch()
    (root / "dev/nvidiactl").touch()
    return environment.read(root, variables), root / "dev"


def test_a_gpu_that_tensorflow_does_not_see_fails_the_job(tmp_path):
    here, dev = host_with_gpu(tmp_path)
    with pytest.raises(TrainingError, match=r"Received: /dev/nvidia0\. .*built without CUDA: container/build.sh --gpu"):
        hardware.require_gpus(here, dev)


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_hidden_gpu_does_not(tmp_path, value):
    hardware.require_gpus(*host_with_gpu(tmp_path, CUDA_VISIBLE_DEVICES=value))


def test_nor_one_that_the_job_did_not_ask_for(tmp_path):
    here, dev = host_with_gpu(tmp_path)
    hardware.require_gpus(replace(here, instance_type="ml.m5.xlarge"), dev)


def test_nor_a_gpu_job_on_a_machine_without_one(tmp_path):
    here, dev = host_with_gpu(tmp_path)
    (dev / "nvidia0").unlink()
    hardware.require_gpus(here, dev)


def test_missing_libraries_are_those_off_the_runpath(tmp_path):
    framework, cuda = tmp_path / "tensorflow/libframework.so.2", tmp_path / "nvidia"
    for name in ("cublas/lib/libcublas.so.12", "cublas/lib/libcublasLt.so.12", "cusolver/lib/libcusolver.so.11"):
        (cuda / name).parent.mkdir(parents=True, exist_ok=True)
        (cuda / name).touch()
    framework.parent.mkdir()
    framework.write_bytes(b"\x7fELF\0libc.so.6\0$ORIGIN/../nvidia/cublas/lib:$ORIGIN/\0rest")
    found = hardware.find_missing_libraries(framework)
    assert "libcusolver.so.11" in found
    assert not {"libcublas.so.12", "libcublasLt.so.12"} & set(found)


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("fpu avx512_bf16 sse", "mixed_bfloat16"),
        ("amx_bf16", "mixed_bfloat16"),
        ("fpu avx2", "float32"),
        (None, "float32"),
    ],
)
def test_precision_auto_is_what_the_processor_computes_in(tmp_path, flags, chosen):
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert hardware.choose_precision("auto", cpuinfo) == chosen
    assert hardware.choose_precision("mixed_float16", cpuinfo) == "mixed_float16"
