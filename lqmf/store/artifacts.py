"""Makes the rows of artifacts, models, plans and measurements from records and from manifests on disk.

Knows the fields of manifests and receipts; opens no store, and reads no folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lqmf.records import Artifact, Manifest, ModelInfo, to_json
from lqmf.store.base import Row


def known_as(artifact: Artifact) -> str:
    """Return the store's name for an artifact: the path of a foreign artifact, because two foreign files may have one
    name."""
    return artifact.path if artifact.foreign else artifact.name


def artifact_row(artifact: Artifact, manifest: Manifest | None) -> Row:
    """Return a row of `artifacts`. `version` is the number in the folder name's `_v<N>`, 1 without it."""
    version = re.search(r"_v(\d+)$", artifact.name)
    row: Row = {**to_json(artifact), "version": int(version[1]) if version else 1, "deleted_at": None}
    if manifest is not None:
        row |= {
            "commit": manifest.commit,
            "plan": dict(manifest.plan),
            "plan_id": manifest.plan.get("id"),
            "versions": dict(manifest.versions),
        }
    return row


def model_row(info: ModelInfo, at: float) -> Row:
    """Return a row of `models`: the columns that queries use, and the whole record in `info`."""
    whole = to_json(info)
    columns = ("commit", "architecture", "model_type", "parameters", "weights_bytes", "dtype", "context_length")
    return {
        "id": info.ref.id,
        "kind": info.ref.kind,
        "at": at,
        "info": whole,
        **{name: whole[name] for name in (*columns, "license", "access")},
    }


def plan_row(plan: Mapping[str, Any], at: float) -> Row:
    """Return a row of `plans`, from a plan as JSON."""
    columns = ("method", "bits", "type", "device")
    return {"id": plan["id"], "at": at, "model": model_id(plan), "plan": dict(plan)} | {k: plan.get(k) for k in columns}


def model_id(plan: Mapping[str, Any]) -> str | None:
    """Return the id of a plan's model, whether the plan holds the whole reference or its id alone; None where it has
    neither."""
    model = plan.get("model")
    found = model.get("id") if isinstance(model, Mapping) else model
    return found if isinstance(found, str) else None


def measurement_row(name: str, receipt: Mapping[str, Any], benchmark: str | None, at: float) -> Row:
    """Return a row of `measurements`: the numbers that are compared, and the whole receipt."""
    speed = receipt.get("tokens_per_second") or {}
    return {
        "artifact": name,
        "at": at,
        "benchmark": benchmark,
        "receipt": dict(receipt),
        "perplexity": receipt.get("perplexity"),
        "kl_mean": (receipt.get("kl_divergence") or {}).get("mean"),
        "top1_agreement": receipt.get("top1_agreement"),
        "tokens_evaluated": receipt.get("tokens_evaluated"),
        "prompt_per_second": speed.get("prompt"),
        "generation_per_second": speed.get("generation"),
    }


def benchmark_row(name: str, job: str, path: str, benchmark: Mapping[str, Any], at: float) -> Row:
    """Return a row of `benchmarks`: the numbers that queries use, and the whole benchmark. Speed is of one chat, its
    context empty."""
    overall = benchmark.get("overall") or {}
    speed = benchmark.get("speed") or ()
    first = next((row for row in speed if row["parallel"] == 1 and row["generation"]), None)
    return {
        "artifact": name,
        "job": job,
        "path": path,
        "at": at,
        "depth": benchmark.get("depth"),
        "quality": overall.get("quality"),
        "coherence": overall.get("coherence"),
        "generation_per_second": first and first["generation"]["per_second"],
        "benchmark": dict(benchmark),
    }


def unix_time(text: str | None) -> float:
    """Return an ISO 8601 time as seconds since 1970; a time without a zone is UTC, a text that cannot be read is 0."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def iso_time(at: float | None) -> str | None:
    """Return seconds since 1970 as ISO 8601 in UTC, to the second; None for None."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
