"""Judges whether an artifact is good enough: its receipt against bounds for its bits, and every check.

A bound says that something is wrong, not that a type is coarse: it lies above the figures that llama.cpp publishes for
the poorest usual type of so many bits on Llama 3 8B (`lqmf.fit.quality.WEIGHTS` has the figures and their source: Q8_0
.0014, Q6_K .0055, Q5_0 .022, Q4_0 .072, Q3_K_S .23, IQ2_XXS .81, IQ1_S 2.3 nats a token), a model that is harder to
quantize than most. The bundled model loses a tenth of that. The share of tokens at which both models choose the same
next token is bounded where such a divergence puts it: 1 - 1.2 sqrt(KL), the worst of any text and type in
docs/measured/gate.md, which gives no bound for two bits. Settings can change the bounds. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lqmf.declared import methods
from lqmf.records import Check, Gate, GateLimits, Receipt
from lqmf.settings import KL_NATS, TOP1, by_bits

# checks that damaged bytes fail; what fails another comes from the model or from how it is made
_OF_THE_BYTES = ("loads", "whole_file", "finite_weights", "finite_predictions", "weights_present", "source_weights")


@dataclass(frozen=True)
class Limits:
    """Bounds by bits: `kl` the greatest mean KL divergence in nats a token, `top1` the least agreement, 0..1."""

    kl: Mapping[int, float]
    top1: Mapping[int, float]

    def of(self, bits: int) -> GateLimits:
        """Return the bounds for `bits`: those of the greatest bits in the table that are not above `bits`, else of the
        least."""
        return {"kl_mean": _nearest(self.kl, bits), "top1": _nearest(self.top1, bits)}


def limits(kl: str = KL_NATS, top1: str = TOP1) -> Limits:
    """Return the bounds that the settings `kl` and `top1` write. Raises ValueError."""
    return Limits(by_bits(kl), by_bits(top1))


def _own(method: str, bounds: Limits) -> Limits:
    """Return `bounds`, with the method's own bounds where the settings are the default ones."""
    declared, usual = methods.of(method), limits()
    kl = by_bits(declared.kl) if declared.kl and bounds.kl == usual.kl else bounds.kl
    top1 = by_bits(declared.top1) if declared.top1 and bounds.top1 == usual.top1 else bounds.top1
    return Limits(kl, top1)


def _nearest(table: Mapping[int, float], bits: int) -> float:
    return table[max((known for known in table if known <= bits), default=min(table))]


# ---------------------------------------------------------------- the verdict


def judge(receipt: Receipt, method: str, bits: int, bounds: Limits) -> Gate:
    """Return the receipt's `gate`: {"passed", "reasons", "limits"}. `passed` is None where nothing failed but no
    divergence was measured; each reason says what was measured and which remedy to try."""
    most = _own(method, bounds).of(bits)
    remedy = _remedy(method, bits, continues=receipt.sequence_loss is None)
    failed = [
        *_checks(receipt.checks), *_conversion(receipt), *_beyond(receipt), *_divergences(receipt, most, bits, remedy)
    ]  # fmt: skip
    if failed:
        return {"passed": False, "reasons": failed, "limits": most}
    if receipt.kl_divergence is None:
        why = (receipt.reasons.get("kl_divergence") or "it was not measured").rstrip(".")
        return {"passed": None, "reasons": [f"The divergence from the source is not known: {why}."], "limits": most}
    return {"passed": True, "reasons": [], "limits": most}


def _checks(checks: tuple[Check, ...]) -> Iterator[str]:
    for check in checks:
        if not check.passed:
            detail = f": {check.detail}" if check.detail else ""
            way = (
                "Make or get the file again; `lqmf verify` reads it whole."
                if check.name in _OF_THE_BYTES
                else "It follows from the model and the way it is made: made again it would be the same."
            )
            yield f"The check {check.name} failed{detail}. {way}"


def _conversion(receipt: Receipt) -> Iterator[str]:
    """A conversion that does not predict as its model does, whatever is then lost by quantizing."""
    found = receipt.conversion
    if found and not found["kl_divergence"]["mean"] <= found["limit_nats"]:
        window = found.get("ignored_window")
        why = (
            f"llama.cpp ignores its sliding window of {window} tokens" if window else "llama.cpp computes it otherwise"
        )
        yield (
            "The conversion changes the model: before anything is quantized, KL divergence from the model itself is "
            f"{found['kl_divergence']['mean']:.4g} nats a token; {found['limit_nats']:g} is the most. {why}; "
            "`--method bnb` and `--method gptq` run transformers' own code."
        )


def _beyond(receipt: Receipt) -> Iterator[str]:
    """Yield a reason if the divergence is infinite."""
    why = receipt.reasons.get("kl_divergence", "")
    if receipt.kl_divergence is None and why.startswith("infinite"):
        yield f"KL divergence is {why.rstrip('.')}."


def _divergences(receipt: Receipt, most: GateLimits, bits: int, remedy: str) -> Iterator[str]:
    """Yield a reason for the whole text and for each domain that is beyond the bounds. The first reason ends with the
    remedy."""
    seen = dict(_measured(receipt))
    remedy = f" Try {remedy}."
    for where, (kl, top1) in seen.items():
        told = []
        if kl is not None and kl > most["kl_mean"]:
            told.append(f"KL divergence{where} is {kl:.4g} nats a token; {most['kl_mean']:g} is the most")
        if top1 is not None and top1 < most["top1"]:
            told.append(f"the same top choice{where} comes at {top1:.1%} of tokens; {most['top1']:.0%} is the least")
        if told:
            sentence = " and ".join(told)
            yield f"{sentence[0].upper()}{sentence[1:]} for {bits} bits.{remedy}"
            remedy = ""


def _measured(receipt: Receipt) -> Iterator[tuple[str, tuple[float | None, float | None]]]:
    whole = receipt.kl_divergence
    yield "", (whole.mean if whole else None, receipt.top1_agreement)
    for name, figures in receipt.domains.items():
        if (receipt.text or {}).get("name") != (figures.get("text") or {}).get("name", ""):  # else it is the whole's
            yield f" on {name}", ((figures.get("kl_divergence") or {}).get("mean"), figures.get("top1_agreement"))


def _remedy(method: str, bits: int, *, continues: bool) -> str:
    own = methods.of(method).remedies
    if at_least := [least for least in own if least <= bits]:
        return own[max(at_least)]
    more = f"more bits (`--bits {min(8, bits + 1)}`)" if bits < 8 else "16 bits"
    if not continues or method != methods.GGUF.name:  # for an encoder-decoder neither a matrix nor a mix is made
        return more
    return f"{more}, an importance matrix (`--imatrix`) if none guided it, or another type (`--type auto`)"
