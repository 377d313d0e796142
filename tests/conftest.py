"""What holds for every test: property tests are not hurried (on a busy machine a slow example is no bug), and OpenMP
threads do not spin against one another on a shared machine. All tests, and the commands that they start, share one
server of the converter, which is launched when the first of them needs it; and compiled modules are kept, or each of
some hundred commands would compile them again."""

import os
import sys
from collections import Counter

import pytest
from hypothesis import settings

from lqmf import child_process, forks

os.environ.update({"OMP_NUM_THREADS": "1", **child_process.WAITING, **os.environ})
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
forks.share()
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have the most slow tests: what is left to the end are short ones, so that all test
    processes, which take a file each, end together."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
