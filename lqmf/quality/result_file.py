"""The form of a file in `benchmarks/`: the kind and time of a measurement, its artifact and its results. Writes no
file."""

from __future__ import annotations

import datetime
from typing import Any

from lqmf.records import Artifact, to_json

FORMAT_VERSION = 1


def result(kind: str, artifact: Artifact, **found: Any) -> dict[str, Any]:
    """Return {"format_version", "kind", "measured_at" (ISO 8601, UTC), "artifact": {its fields without its receipt}}
    with the results `found`."""
    return {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "artifact": {key: value for key, value in to_json(artifact).items() if key != "receipt"},
        **found,
    }
