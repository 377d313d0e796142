"""What a GGUF file says of its own making: the keys `lqmf.*` in its header, so that a file that left its folder still
tells what it is, from what and how it was made.

Only what decides the file's bytes stands there: no time, host, path or score, so that the same plan gives the same
file. Pure; knows no weights.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lqmf.records import QuantizationPlan, to_json
from lqmf.version import VERSION

Keys = dict[str, str | int | float | bool]


def keys(
    plan: QuantizationPlan, name: str, matrix: Mapping[str, Any] | None, mix: Mapping[str, str] | None, adapter: str
) -> Keys:
    """The keys in the order of the file. `name` is the model's own, `matrix` what a manifest says of the importance
    matrix, `mix` the types that were chosen ("q4_K" by tensor), `adapter` the hash of what is merged ("": nothing)."""
    source = plan.model.id if plan.model.kind == "hub" else name
    matrix = matrix or {}
    told: Mapping[str, str | None] = {
        "version": VERSION,
        "source.id": source,
        "source.commit": plan.commit,
        "plan.sha256": plan_sha256(plan, matrix, adapter),
        "type": plan.type,
        "types": recipe(mix) if mix else None,
        "adapter.sha256": adapter,
        "imatrix.sha256": matrix.get("imatrix_sha256"),
        "imatrix.text": matrix.get("text"),
        "imatrix.text_sha256": matrix.get("text_sha256"),
    }
    return {f"lqmf.{key}": value for key, value in told.items() if value}


def plan_sha256(plan: QuantizationPlan, matrix: Mapping[str, Any], adapter: str) -> str:
    """A hash of what a plan says that decides the file: two plans that make the same file have the same."""
    asked = {
        "method": plan.method,
        "type": plan.type,
        "target_bytes": plan.target_bytes,
        "keep": sorted(plan.keep),
        "parameters": plan.parameters,
        "imatrix": matrix.get("imatrix_sha256"),
        "adapter": adapter,
    }
    return hashlib.sha256(json.dumps(to_json(asked), sort_keys=True).encode()).hexdigest()


def recipe(mix: Mapping[str, str]) -> str:
    """How many of the tensors that were chosen for got which type, the most frequent first: "q4_K 30, q6_K 12"."""
    counts = Counter(mix.values())
    ordered = sorted(counts, key=lambda type: (-counts[type], type))
    return ", ".join(f"{type} {counts[type]}" for type in ordered)
