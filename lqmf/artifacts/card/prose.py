"""Writes the sentences of a model card, on quality and limits, from the records; and checks whether another wording of
them may replace them: only with no figure and no name that the sentences do not hold.

Pure. Knows no provider and no Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lqmf.artifacts.card.markdown import plain
from lqmf.fit.quality import CLEAR, LITTLE
from lqmf.records import Artifact, Manifest
from lqmf.units import file_size, percent, small

LONGER = 2.0  # times the records' own prose: what is longer says more than they do
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
_COUNTED = re.compile(
    r"\b(?:half|halve[sd]?|halving|quarters?|thirds?|twice|thrice|doubl(?:e[sd]?|ing)|tripl(?:e[sd]?|ing)|dozens?"
    r"|hundreds?|thousands?|millions?|billions?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z][\w.-]*[A-Z0-9/_][\w./-]*|https?://\S+|www\.\S+|\S+@\S+")


@dataclass(frozen=True)
class Prose:
    """The sentences of a card: `summary` on the artifact and its quality, `limits` on its weaknesses."""

    summary: str
    limits: str


def written(artifact: Artifact, manifest: Manifest, receipt: Mapping[str, Any] | None) -> Prose:
    """Return the prose that the records make."""
    measured = receipt or {}
    return Prose(
        " ".join(_summary(artifact, manifest, measured)),
        " ".join(_limits(artifact, manifest, measured)),
    )


def _summary(artifact: Artifact, manifest: Manifest, receipt: Mapping[str, Any]) -> Iterator[str]:
    ratio = artifact.compression_ratio
    smaller = f", {ratio:.2f} times smaller than its source" if ratio is not None else ""
    width = receipt.get("bits_per_weight")
    yield f"It has {file_size(artifact.size_bytes)}{smaller}" + (f", at {width:.2f} bits a weight." if width else ".")
    kl, top1 = (receipt.get("kl_divergence") or {}).get("mean"), receipt.get("top1_agreement")
    if kl is not None:
        yield f"Against the source it loses {small(kl)} nats a token (KL divergence), which is {_amount(kl)}."
    if top1 is not None:
        yield f"{percent(top1)} of its first choices of a next token are the source's own."
    if manifest.imatrix:
        yield "An importance matrix guided the quantization."


def _amount(kl: float) -> str:
    return "a small loss" if kl <= LITTLE else "a clear loss" if kl <= CLEAR else "a large loss"


def _limits(artifact: Artifact, manifest: Manifest, receipt: Mapping[str, Any]) -> Iterator[str]:
    yield "What the source model gets wrong, this one gets wrong too, and what its licence forbids stays forbidden."
    if not manifest.license:
        yield "The records name no licence of the source: look it up before passing this on."
    if receipt.get("kl_divergence") is None:
        why = (receipt.get("reasons") or {}).get("kl_divergence") or "it was not measured"
        yield f"How much quantizing lost is not known: {plain(str(why)).rstrip('.')}."
    else:
        yield "The loss is an average over the texts that were read; others, and other languages, may fare differently."
    failed = [plain(str(one["name"])).replace("_", " ") for one in receipt.get("checks") or () if not one["passed"]]
    if failed:
        yield f"It did not pass {'this check' if len(failed) == 1 else 'these checks'}: {', '.join(failed)}."
    if receipt.get("tokens_per_second"):
        yield "Speed and memory are those of the machine that is named above."


# ---------------------------------------------------------------- somebody else's wording


def refusal(own: Prose, proposed: Prose) -> str:
    """Return why `proposed` may not replace `own`; empty where it may."""
    for name in ("summary", "limits"):
        before, after = getattr(own, name), plain(getattr(proposed, name))
        if why := _why_not(before, after):
            return f"its {name} {why}"
    return ""


def _why_not(before: str, after: str) -> str:
    if not after:
        return "is empty"
    if len(after) > LONGER * len(before):
        return "is far longer than what the records say"
    for what, pattern in (("figure", _FIGURE), ("number", _COUNTED), ("name", _NAME)):
        known = {found[0].lower().rstrip(".,") for found in pattern.finditer(before)}
        told = [found[0].rstrip(".,") for found in pattern.finditer(after)]
        if unknown := next((one for one in told if one.lower() not in known), None):
            return f"has the {what} '{unknown}', which the records do not"
    return ""


def taken(own: Prose, proposed: Prose) -> Prose:
    """Return `proposed`, each text on one line. Raises ValueError where it may not replace `own`."""
    if why := refusal(own, proposed):
        raise ValueError(why)
    return Prose(plain(proposed.summary), plain(proposed.limits))
