"""Memory and use of the processor are this process's own."""

from __future__ import annotations

import subprocess
import sys
import time

from lqmf.quality.receipt.memory import peak_rss_bytes
from lqmf.quality.receipt.utilization import Watch

PEAK = "from lqmf.quality.receipt.memory import peak_rss_bytes; "


def peak_of(code: str) -> int:
    done = subprocess.run([sys.executable, "-c", PEAK + code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_the_peak_stays_when_the_memory_is_gone():
    small = peak_of("print(peak_rss_bytes())")
    large = peak_of("x = bytearray(200 << 20); x[::4096] = b'1' * len(x[::4096]); del x; print(peak_rss_bytes())")
    assert 190 << 20 < large - small < 230 << 20


def test_the_peak_of_the_parent_is_not_the_childs():
    ballast = bytearray(300 << 20)
    ballast[::4096] = b"1" * len(ballast[::4096])
    assert peak_rss_bytes() > 300 << 20
    assert peak_of("print(peak_rss_bytes())") < 200 << 20


def test_work_and_rest_show_in_the_use_of_the_processor():
    with Watch() as rest:
        time.sleep(0.2)
    with Watch() as work:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
    assert rest.cpu_percent is not None
    assert work.cpu_percent is not None
    assert 0 <= rest.cpu_percent < work.cpu_percent <= 100
