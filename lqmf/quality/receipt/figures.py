"""Turns a meter's totals for one text into the receipt's fields; a field without a value is null and has a reason.

Knows meters and field names; no engine, no text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lqmf.quality.receipt.divergence import DivergenceMeter
from lqmf.quality.receipt.perplexity import Perplexity
from lqmf.records import to_json

AGAINST_SOURCE = ("base", "perplexity_ratio", "right_token", "kl_divergence", "top1_agreement")
FIELDS = ("perplexity", "perplexity_standard_error", *AGAINST_SOURCE)
_INFINITE = "infinite: the artifact rules out tokens that its source expects"
_BEYOND = "beyond measure: it rules out what the text says"


def compared(meter: DivergenceMeter) -> dict[str, Any]:
    """Return every field of FIELDS from the totals of `meter`, with `reasons` for the fields that are null."""
    value, error = meter.perplexity_ratio()
    mean, rms, mean_error = meter.right_token()
    told: dict[str, Any] = {
        **_perplexity(meter.artifact),
        "base": _base(meter.source),
        "perplexity_ratio": {"value": value, "standard_error": error},
        "right_token": {"mean_change": mean, "rms_change": rms, "standard_error": mean_error},
        "kl_divergence": to_json(meter.divergence()),
        "top1_agreement": meter.top1_agreement,
        "reasons": {},
    }
    if not math.isfinite(told["kl_divergence"]["mean"]):
        _drop(told, _INFINITE, "kl_divergence")
    if not math.isfinite(value):
        _drop(told, _BEYOND, "perplexity_ratio")
    return _finite(told)


def alone(perplexity: Perplexity, reason: str) -> dict[str, Any]:
    """Return every field of FIELDS for an artifact measured without its source: fields AGAINST_SOURCE are null, for
    `reason`."""
    return _finite({**_perplexity(perplexity), **unmeasured(reason, AGAINST_SOURCE)})


def unmeasured(reason: str, fields: tuple[str, ...] = FIELDS) -> dict[str, Any]:
    """Return each field of `fields` as null, with `reason` for each under "reasons"."""
    return {**dict.fromkeys(fields), "reasons": dict.fromkeys(fields, reason)}


def _perplexity(measured: Perplexity) -> dict[str, float]:
    return {"perplexity": measured.value, "perplexity_standard_error": measured.standard_error}


def _base(source: Perplexity) -> dict[str, float | None]:
    told = {"perplexity": source.value, "standard_error": source.standard_error}
    return {name: value if math.isfinite(value) else None for name, value in told.items()}


def _finite(told: dict[str, Any]) -> dict[str, Any]:
    """Replace an infinite perplexity by null and a reason: JSON has no infinity."""
    if not math.isfinite(told["perplexity"]):
        _drop(told, _BEYOND, "perplexity", "perplexity_standard_error")
    return told


def _drop(told: dict[str, Any], reason: str, *fields: str) -> None:
    reasons: Mapping[str, str] = dict.fromkeys(fields, reason)
    told.update({**dict.fromkeys(fields), "reasons": {**told["reasons"], **reasons}})
