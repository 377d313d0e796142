"""Waiting for what another process does."""

import time
from collections.abc import Callable


def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    """Return as soon as `true()` holds; fail when it does not within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")
