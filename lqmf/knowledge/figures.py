"""Figures on each type: its size, its published loss, and the measurements in this store.

Knows the tables of types and rows of the store; reads no file and asks nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lqmf.fit.quality import expected_loss
from lqmf.model_files.gguf_types import TYPES

MOST_TYPES, MOST_RESULTS = 4, 4
_TYPE = re.compile(r"\b(?:" + "|".join(sorted(map(re.escape, TYPES), key=len, reverse=True)) + r")\b", re.IGNORECASE)


def types_in(question: str) -> list[str]:
    """Return the GGUF types that a question names, in their own spelling, in the order in which it names them."""
    return list(dict.fromkeys(found[0].upper() for found in _TYPE.finditer(question)))[:MOST_TYPES]


def of_type(name: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `{"type", "bits_per_weight", "summary", "expected_kl_nats", "source", "measured_here"}` of one type."""
    known = TYPES[name]
    loss = expected_loss(name)
    return {
        "type": name,
        "bits_per_weight": known.bits_per_weight,
        "summary": known.summary,
        "expected_kl_nats": loss.kl_nats,
        "source": loss.origin,
        "measured_here": results(record for record in records if record["type"] == name),
    }


def results(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures of the receipts in this store, the newest first: artifact, model, type, size, losses,
    speed."""
    measured = ((record, record["receipt"]) for record in records if record.get("receipt"))
    found = [_result(record, receipt) for record, receipt in measured]
    return [one for one in found if one["kl_nats"] is not None or one["perplexity"] is not None][:MOST_RESULTS]


def _result(record: Mapping[str, Any], receipt: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "artifact": record["name"],
        "model": record["model"],
        "type": record["type"] or record["method"],
        "size_bytes": record["size_bytes"],
        "kl_nats": (receipt.get("kl_divergence") or {}).get("mean"),
        "perplexity": receipt.get("perplexity"),
        "tokens_per_second": (receipt.get("tokens_per_second") or {}).get("generation"),
    }
