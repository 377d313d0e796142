"""Computes statistics over many rows. Pure: rows in, one JSON document out."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from lqmf.store.base import Row

ENDED = ("done", "failed", "interrupted")  # what success is counted over: a cancel is no failure, a run has not ended


def summary(jobs: Sequence[Row], artifacts: Sequence[Row], measurements: Sequence[Row]) -> dict[str, Any]:
    """Return the `stats` document. `measurements` come newest first; the newest of each artifact counts.

    `success_rate` is done / (done + failed + interrupted), `saved_bytes` the sources' bytes less the artifacts',
    `seconds` by method over quantizations that were done; ratios, KL (nats a token) and tokens a second are means.
    """
    return {
        "jobs": job_counts(jobs),
        "seconds": seconds_by_method(jobs),
        "artifacts": sizes(artifacts),
        "methods": methods_compared(artifacts, measurements),
    }


def job_counts(jobs: Sequence[Row]) -> dict[str, Any]:
    """Return the number of jobs by status, the share that succeeded (None if no job ended), and the number of
    retries."""
    by_status = Counter(job["status"] for job in jobs)
    ended = sum(by_status[status] for status in ENDED)
    return {
        "total": len(jobs),
        "by_status": dict(sorted(by_status.items())),
        "success_rate": by_status["done"] / ended if ended else None,
        "retries": sum(max(0, (job["attempts"] or 1) - 1) for job in jobs),
    }


def seconds_by_method(jobs: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """Return the median and mean duration in seconds of the quantizations that were done, by method."""
    times: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        if job["kind"] == "quantize" and job["status"] == "done" and job["method"] and job["seconds"] is not None:
            times[job["method"]].append(job["seconds"])
    return {
        method: {"jobs": len(each), "median": statistics.median(each), "mean": statistics.fmean(each)}
        for method, each in sorted(times.items())
    }


def sizes(artifacts: Sequence[Row]) -> dict[str, Any]:
    """Return the bytes that the artifacts take, and the bytes that they save where their source's size is known."""
    measured = [row for row in artifacts if row["source_size_bytes"] and row["size_bytes"]]
    return {
        "total": len(artifacts),
        "size_bytes": sum(row["size_bytes"] or 0 for row in artifacts),
        "saved_bytes": sum(row["source_size_bytes"] - row["size_bytes"] for row in measured),
    }


def methods_compared(artifacts: Iterable[Row], measurements: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a line for each method and type, with means over the newest measurement of each artifact; None where no
    artifact was measured."""
    newest = {row["artifact"]: row for row in reversed(measurements)}
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in artifacts:
        groups[(row["method"] or "", row["type"] or "")].append({**row, **_numbers(newest.get(row["name"], {}))})
    return [
        {"method": method, "type": kind, "artifacts": len(rows)}
        | {name: _mean(row[name] for row in rows) for name in ("compression_ratio", *NUMBERS)}
        for (method, kind), rows in sorted(groups.items())
    ]


NUMBERS = ("kl_mean", "perplexity", "top1_agreement", "prompt_per_second", "generation_per_second")


def _numbers(measurement: Row) -> Row:
    return {name: measurement.get(name) for name in NUMBERS}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
