"""Statistics over rows: each figure against one worked out by hand."""

from __future__ import annotations

from typing import Any

from lqmf.store.statistics import summary
from lqmf.store.tables import complete


def job(
    status: str, seconds: float | None = None, method: str = "gguf", attempts: int = 1, kind: str = "quantize"
) -> Any:
    fields = {"status": status, "seconds": seconds, "method": method, "attempts": attempts, "kind": kind}
    return complete("jobs", fields)


def artifact(name: str, size: int, source: int | None, method: str = "gguf", type: str = "Q4_K_M") -> Any:
    ratio = source / size if source else None
    fields = {"name": name, "size_bytes": size, "source_size_bytes": source, "method": method, "type": type}
    return complete("artifacts", fields | {"compression_ratio": ratio})


def test_nothing_recorded_gives_zeros_and_nulls() -> None:
    assert summary([], [], []) == {
        "jobs": {"total": 0, "by_status": {}, "success_rate": None, "retries": 0},
        "seconds": {},
        "artifacts": {"total": 0, "size_bytes": 0, "saved_bytes": 0},
        "methods": [],
    }


def test_jobs_are_counted_and_timed() -> None:
    jobs = [
        job("done", 10), job("done", 20, attempts=3), job("done", 60), job("done", 5, "bnb"),
        job("done", 1, kind="test"),
        job("failed", 99, attempts=2), job("interrupted"), job("cancelled", 3), job("running"),
    ]  # fmt: skip
    stats = summary(jobs, [], [])
    assert stats["jobs"] == {
        "total": 9,
        "by_status": {"cancelled": 1, "done": 5, "failed": 1, "interrupted": 1, "running": 1},
        "success_rate": 5 / 7,
        "retries": 3,
    }
    assert stats["seconds"] == {
        "bnb": {"jobs": 1, "median": 5, "mean": 5},
        "gguf": {"jobs": 3, "median": 20, "mean": 30},
    }


def test_methods_are_compared_by_the_newest_measurement_of_each_artifact() -> None:
    artifacts = [artifact("a", 100, 400), artifact("b", 100, 200), artifact("c", 50, None, "bnb", "nf4")]
    measured = [  # newest first
        complete("measurements", {"artifact": "a", "kl_mean": 0.002, "generation_per_second": 10}),
        complete("measurements", {"artifact": "b", "kl_mean": 0.004, "perplexity": 8}),
        complete("measurements", {"artifact": "a", "kl_mean": 99}),
        complete("measurements", {"artifact": "gone", "kl_mean": 99}),
    ]
    stats = summary([], artifacts, measured)
    assert stats["artifacts"] == {"total": 3, "size_bytes": 250, "saved_bytes": 400}
    bnb, gguf = stats["methods"]
    assert (bnb["method"], bnb["type"], bnb["artifacts"], bnb["compression_ratio"]) == ("bnb", "nf4", 1, None)
    assert (gguf["artifacts"], gguf["compression_ratio"], gguf["perplexity"]) == (2, 3, 8)
    assert abs(gguf["kl_mean"] - 0.003) < 1e-12
    assert gguf["generation_per_second"] == 10
