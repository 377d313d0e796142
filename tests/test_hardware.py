"""The load is what other programs want of the processors now."""

from __future__ import annotations

import os
import subprocess
import sys

from lqmf import hardware


def test_programs_that_want_a_processor_are_the_load() -> None:
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]
    try:
        found = hardware.load(1.0)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert found > 2 / (os.cpu_count() or 1)
