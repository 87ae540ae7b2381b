"""Tests, and programs that look for faults longer than a test may."""

import sys

from local_test.util.console import begin_program

if sys.argv[:1] == ["-m"]:  # so it is as `python -m tests.…` comes through here: what is found so is a program
    begin_program()
