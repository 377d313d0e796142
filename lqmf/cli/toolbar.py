"""The bottom line of the chat: device, free memory, the last job. Read anew at each redraw, and cheaply."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lqmf.errors import LqmfError
from lqmf.terminal import clean
from lqmf.units import memory_size

if TYPE_CHECKING:
    from lqmf.cli.session import Session

FRESH_SECONDS = 2.0  # the driver and the store are asked no more often


class Toolbar:
    """Called by the prompt at each redraw; returns plain text."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._text = ""
        self._read_at = float("-inf")

    def __call__(self) -> str:
        """ " cpu · 12.3 GB free · last job: demo as Q4_K_M, done "."""
        if time.monotonic() - self._read_at >= FRESH_SECONDS:
            self._text = f" {_device(self._session)}{_last_job(self._session)} "
            self._read_at = time.monotonic()
        return self._text


def _last_job(session: Session) -> str:
    try:
        job = session.app.memory.last_job()
    except LqmfError:
        return ""
    return f" · last job: {clean(str(job['title']))}, {job['status']}" if job else ""


def _device(session: Session) -> str:
    hardware = session.app.hardware()
    ram = f"{memory_size(hardware.ram_available_bytes)} free"
    if not hardware.gpus:
        return f"cpu · {ram}"
    gpu = hardware.gpus[0]
    return f"{clean(gpu.name)} · {memory_size(gpu.memory_free_bytes)} free · RAM {ram}"
