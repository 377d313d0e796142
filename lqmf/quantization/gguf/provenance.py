"""The keys `lqmf.*` in the header of a GGUF file: a file that left its folder still tells from which model and how it
was made.

The keys hold only facts that decide the file's bytes: no time, host, path or score, so that the same plan gives the
same file. Pure; knows no weights.
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
    """Return the keys in the order of the file. `name` is the model's own name, `matrix` the manifest's facts about the
    importance matrix, `mix` the chosen type of each tensor ("q4_K"), `adapter` the hash of the merged adapter ("":
    none)."""
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
    """Return a hash of the parts of a plan that decide the file: two plans that make the same file have the same
    hash."""
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
    """Return the number of tensors of each type in `mix`, the most frequent type first: "q4_K 30, q6_K 12"."""
    counts = Counter(mix.values())
    ordered = sorted(counts, key=lambda type: (-counts[type], type))
    return ", ".join(f"{type} {counts[type]}" for type in ordered)
