"""The form of a file in `benchmarks/`: what was done, when, to which artifact, and what was found. Writes none."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Any

from lqmf.records import Artifact, to_json

FORMAT_VERSION = 1


def result(kind: str, artifact: Artifact, clock: Callable[[], float] = time.time, **found: Any) -> dict[str, Any]:
    """{"format_version", "kind", "measured_at" (ISO 8601, UTC), "artifact": {its fields without its receipt}}, then
    what was `found`."""
    return {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "measured_at": datetime.datetime.fromtimestamp(clock(), datetime.UTC).isoformat(timespec="seconds"),
        "artifact": {key: value for key, value in to_json(artifact).items() if key != "receipt"},
        **found,
    }
