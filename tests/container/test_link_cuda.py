"""container/link_cuda.sh over a tree like pip's: empty libraries, a RUNPATH without cusolver, as TensorFlow's."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.missing import missing

SCRIPT = Path(__file__).resolve().parents[2] / "container/link_cuda.sh"
LIBRARIES = {
    "cublas": ("libcublas.so.12", "libcublasLt.so.12"), "cuda_cupti": ("libcupti.so.12",),
    "cuda_runtime": ("libcudart.so.12",), "cudnn": ("libcudnn.so.9",), "cufft": ("libcufft.so.11",),
    "cusolver": ("libcusolver.so.11",), "cusparse": ("libcusparse.so.12",), "nccl": ("libnccl.so.2",),
}  # fmt: skip


@pytest.fixture
def site(tmp_path):
    """A site-packages folder."""
    for tool in ("gcc", "readelf"):
        if shutil.which(tool) is None:
            missing(f"no {tool}")
    (tmp_path / "tensorflow").mkdir()
    folders = [f"$ORIGIN/../nvidia/{folder}/lib" for folder in LIBRARIES if folder != "cusolver"]
    compile_library(tmp_path / "tensorflow/libtensorflow_framework.so.2", f"-Wl,-rpath,{':'.join(folders * 2)}")
    for folder, names in LIBRARIES.items():
        (tmp_path / "nvidia" / folder / "lib").mkdir(parents=True)
        for name in names:
            compile_library(tmp_path / "nvidia" / folder / "lib" / name)
    return tmp_path


def compile_library(path: Path, *options: str) -> None:
    command = ["gcc", "-shared", "-Wl,--enable-new-dtags", *options, "-o", path, "-x", "c", "/dev/null"]
    subprocess.run(command, check=True, timeout=200)


def link(site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, site], capture_output=True, text=True, timeout=200)


def test_every_library_opens_afterwards(site):
    assert link(site).returncode == 0
    assert link(site).returncode == 0, "and again"
    assert [path.name for path in (site / "tensorflow").iterdir()] == ["libtensorflow_framework.so.2"]


@pytest.mark.parametrize("lost", ["cudnn/lib/libcudnn.so.9", "cusolver/lib/libcusolver.so.11"])
def test_a_library_that_is_not_there_fails_by_name(site, lost):
    (site / "nvidia" / lost).unlink()
    failed = link(site)
    assert failed.returncode == 1
    assert Path(lost).name in failed.stderr
    assert "TensorFlow would not find the libraries above" in failed.stderr


def test_site_packages_without_cuda_are_told(tmp_path):
    assert "Install requirements-gpu.txt first" in link(tmp_path).stderr
