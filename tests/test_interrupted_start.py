"""Ctrl-C before there is a command that could hear it."""

import subprocess
import sys

INTERRUPTED = """
import signal, sys
from importlib.abc import MetaPathFinder

class Interrupt(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "backend.cli":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv = ["tend", "--version"]
import pytest
from backend.__main__ import main

pytestmark = pytest.mark.long
main()
"""


def test_an_interrupt_while_a_command_is_imported_says_nothing_and_is_told_by_the_exit_code() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_command_that_nobody_interrupts_is_run() -> None:
    done = subprocess.run([sys.executable, "-m", "backend", "--version"], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tend ")
