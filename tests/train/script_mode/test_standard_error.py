"""What is said of a program's end."""

import subprocess
import sys

import pytest

from tests.support.train_jobs import ROOT
from train.script_mode.standard_error import find_cause, find_pip_errors

TRACEBACK = "Traceback (most recent call last):\n  File 'x.py', line 1, in <module>\n    f()\n"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (f"noise\n{TRACEBACK}ValueError: label 12\n", "ValueError: label 12"),
        (
            f"{TRACEBACK}KeyError: 1\n\nDuring handling …\n\n{TRACEBACK}ValueError: two\nlines\n",
            "ValueError: two\nlines",
        ),
        ("".join(f"line {number}\n" for number in range(9)), "line 4\nline 5\nline 6\nline 7\nline 8"),
        (f"{TRACEBACK}ValueError: {'x' * 5000}\n", f"ValueError: {'x' * 588}"),
        ("", ""),
        (
            "[1,1]<stderr>:Traceback (most recent call last):\n[1,0]<stderr>:a warning\n"
            "[1,1]<stderr>:    [1,1]<stderr>:main()[1,1]<stderr>:\n"
            "[1,1]<stderr>:ValueError[1,1]<stderr>:: [1,1]<stderr>:label 12[1,1]<stderr>:\n"
            "[1,0]<stderr>:Traceback (most recent call last):\n[1,0]<stderr>:OSError: the other one is gone\n"
            "-------\nMPI_ABORT was invoked on rank 1\n-------\n",
            "ValueError: label 12",
        ),
        (
            "-------\nmpirun noticed that rank 1 exited on signal 9\n-------\n",
            "mpirun noticed that rank 1 exited on signal 9",
        ),
        ("[1,2]<stderr>:sh: no such program\n-------\nmpirun has ended\n", "sh: no such program"),
    ],
)
def test_the_cause(text, cause):
    assert find_cause(text) == cause


def test_pips_errors():
    assert find_pip_errors("WARNING: a\nERROR: no b==1\nnotice\nERROR: nor c\n") == "no b==1 nor c"


def test_a_program_whose_errors_nobody_reads_is_not_left_waiting():
    """The reader's end is closed, as where the platform was killed: the program must not wait for room in the pipe."""
    code = (
        "import subprocess, sys\n"
        "from train.script_mode.standard_error import StandardError\n"
        "standard_error = StandardError()\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "writes = 'import sys\\nfor _ in range(99): sys.stderr.write(\"x\" * 65536)'\n"
        "child = subprocess.Popen([sys.executable, '-c', writes], stderr=standard_error.descriptor)\n"
        "print('ended', child.wait(30) != 0, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"ready\n"
        process.stderr.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stdout.read() == b"ended True\n"
