"""Judges a finished job in two or three sentences: against the request and against the predictions; and proposes the
next artifact to make, if any is worth it.

Pure: an artifact, its receipt and its plan in, words and at most one proposal out. Knows no store, no file and no
terminal. A proposal fits the memory that the plan was made for: it is chosen among the plan's own `others`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lqmf.fit.predictions import percent
from lqmf.fit.quality import LITTLE, WEIGHTS
from lqmf.records import Artifact, Candidate, Footprint, Loss, QuantizationPlan
from lqmf.units import file_size, memory_size

NEGLIGIBLE = WEIGHTS["Q8_0"]  # nats a token: nobody makes a larger file to lose less
WORTHWHILE = 2 / 3  # of the loss: a larger file that keeps more of it is not proposed
OF_LOSS = ("speaks", "no_loops")  # checks that losing too much may fail
GUIDED_BITS = 4  # up to so many an importance matrix helps
STEADY = {  # what is told of where it was not as predicted; times and speeds hang on what else the machine does
    "size_bytes": "size",
    "peak_rss_bytes": "memory that it takes",
    "peak_gpu_bytes": "memory that it takes on the GPU",
}
LossOf = Callable[[str], Loss]  # of a type, for this model, as far as it is known by now


@dataclass(frozen=True)
class Case:
    """An artifact to be judged. `loss` gives the loss expected of a type, measurements of this store included; `made`
    maps each type to the artifact of this model that exists already."""

    artifact: Artifact
    plan: QuantizationPlan
    loss: LossOf
    made: Mapping[str, str] = field(default_factory=dict)

    @property
    def receipt(self) -> Mapping[str, Any]:
        return self.artifact.receipt or {}

    @property
    def kl(self) -> float | None:
        """Return the measured mean KL divergence in nats a token; None where it was not measured."""
        found = (self.receipt.get("kl_divergence") or {}).get("mean")
        return float(found) if found is not None else None

    @property
    def type(self) -> str:
        return self.artifact.type or f"{self.artifact.bits}bit"

    @property
    def gate(self) -> Mapping[str, Any]:
        return self.receipt.get("gate") or {}

    @property
    def runs(self) -> bool:
        checks = self.receipt.get("checks") or ()
        return bool(checks) and all(check["passed"] for check in checks if check["name"] == "loads")


@dataclass(frozen=True)
class Step:
    """A proposal: the slots of a request that change (None takes one back), and the gain in words."""

    slots: Mapping[str, Any]
    text: str


@dataclass(frozen=True)
class Verdict:
    """At most three sentences, and the next step where there is one."""

    sentences: tuple[str, ...] = ()
    step: Step | None = None


def verdict(case: Case) -> Verdict:
    """Return the verdict on an artifact. An artifact that was not measured gets one sentence and no step."""
    if not case.receipt.get("checks"):
        return Verdict((f"{_size(case)}. How good it is was not measured.",))
    if not case.runs:
        return Verdict((f"{_size(case)}, but it does not run: {_detail(case, 'loads')}.",))
    said = [f"{_size(case)}{_asked(case)}.", _quality(case), *_trouble(case)]
    return Verdict(tuple(said[:3]), step(case))


# ---------------------------------------------------------------- what came out


def _size(case: Case) -> str:
    width = case.receipt.get("bits_per_weight")
    stored = f", {width:.2f} bits a weight" if width is not None else ""
    return f"{case.artifact.name} has {file_size(case.artifact.size_bytes)}{stored}"


def _asked(case: Case) -> str:
    """The words on whether the artifact keeps to the memory that was given."""
    need, given = memory_needed(case), case.plan.memory_bytes
    if need is None or not given:
        return ""
    context = case.plan.context or (case.plan.run.context if case.plan.run else None)
    with_context = f" with {context:,} tokens of context" if context else ""
    how = "within" if need <= given else "more than"
    return f", and needs {memory_size(need)}{with_context}, {how} the {memory_size(given)} that you gave it"


def memory_needed(case: Case) -> float | None:
    """Return the memory that running the artifact as planned takes, in bytes: the plan's figure, raised by as much as a
    measurement exceeded its prediction. None without a candidate in the plan."""
    if not case.plan.candidates:
        return None
    planned = case.plan.candidates[0].memory
    name = "peak_gpu_bytes" if planned.gpu else "peak_rss_bytes"
    error = (case.receipt.get("prediction") or {}).get(name, {})
    return _takes(planned) * _worse(error)


def _takes(memory: Footprint) -> int:
    """The bytes that count against the memory that was given: those on the GPU where the plan uses one."""
    return memory.gpu or memory.total


def _worse(compared: Mapping[str, Any]) -> float:
    """The measurement as a multiple of its prediction, where it missed the prediction and is above it; else 1."""
    return 1 + compared["error"] if compared.get("missed") and compared["error"] > 0 else 1.0


def _quality(case: Case) -> str:
    if (told := _likeness(case.receipt)) is not None:
        return told
    if case.kl is None:
        reasons = case.receipt.get("reasons") or {}
        why = str(reasons.get("kl_divergence") or reasons.get("*") or "no reason was recorded").rstrip(".")
        return f"What was lost is not known: {why}."
    top1 = case.receipt.get("top1_agreement")
    agrees = f", and {top1 * 100:.1f} % of its first choices are the source's" if top1 is not None else ""
    return f"It loses {nats(case.kl)} nats a token (KL divergence){_expected(case)}{agrees}."


def _likeness(receipt: Mapping[str, Any]) -> str | None:
    """The sentence for an encoder, on how like its source's its embeddings are, or for an encoder-decoder, on its loss
    on known answers; None for other models."""
    if cosine := (receipt.get("similarity") or {}).get("embedding_cosine"):
        return (
            f"Its embeddings have a cosine of {cosine['mean']:.5f} with the source's, and at least {cosine['min']:.5f}."
        )
    if (change := (receipt.get("sequence_loss") or {}).get("change")) is not None:
        more = "more" if change > 0 else "less"
        if nats(abs(change)) == "0":
            return "On known answers it loses as much as the source."
        return f"On known answers it loses {nats(abs(change))} nats a token {more} than the source."
    return None


def _expected(case: Case) -> str:
    told = (case.receipt.get("prediction") or {}).get("kl_nats")
    if not told:
        return ""
    if not told["missed"]:
        return ", as predicted"
    return f", {'more' if told['error'] > 0 else 'less'} than the {nats(told['predicted'])} predicted for {case.type}"


def _trouble(case: Case) -> list[str]:
    """The sentence on a failed gate or failed checks, else on the worst misprediction of size or memory; empty for
    none."""
    failed = [str(check["name"]).replace("_", " ") for check in case.receipt["checks"] if not check["passed"]]
    reasons = [str(one).rstrip(".") for one in case.gate.get("reasons") or ()]
    if case.gate.get("passed") is False:
        return [f"It does not pass the gate: {'; '.join(reasons) or 'no reason was recorded'}."]
    if failed:
        return [f"It fails {'this check' if len(failed) == 1 else 'these checks'}: {', '.join(failed)}."]
    told = case.receipt.get("prediction") or {}
    missed = {name: told[name]["error"] for name in STEADY if name in told and told[name]["missed"]}
    if not missed:
        return []
    worst = max(missed, key=lambda name: abs(missed[name]))
    error = missed[worst]
    by = f"{1 + error:.1f} times" if error >= 1 else f"{percent(abs(error))} {'above' if error > 0 else 'below'}"
    return [f"The {STEADY[worst]} is {by} the prediction."]


def _detail(case: Case, name: str) -> str:
    found = next((str(check.get("detail") or "") for check in case.receipt["checks"] if check["name"] == name), "")
    return found.rstrip(".") or "no reason was recorded"


def nats(value: float) -> str:
    """Return a divergence (in nats) written with two significant digits, as its error bars allow: "0.0022"."""
    return f"{float(f'{value:.2g}'):.6f}".rstrip("0").rstrip(".") or "0"


# ---------------------------------------------------------------- what next


def step(case: Case) -> Step | None:
    """Return the next artifact worth making; None if there is none."""
    need, given = memory_needed(case), case.plan.memory_bytes
    if need is not None and given and need > given:
        return _smaller(case, need, given)
    if case.gate.get("passed") is False:
        return _passing(case)
    if case.kl is None:
        return None
    if _lost_more(case) and _may_be_guided(case):
        return _guided(case)
    if case.plan.priority in ("size", "speed"):
        return _lighter(case)
    return _better(case, WORTHWHILE * case.kl) if case.kl > NEGLIGIBLE else None


def _ways(case: Case) -> list[Candidate]:
    """The candidates of other types that fit, the smallest first, without types that exist already."""
    return sorted(
        (one for one in case.plan.others if one.type not in (case.type, *case.made)), key=lambda one: one.file_bytes
    )


def _smaller(case: Case, need: float, given: int) -> Step | None:
    """For an artifact that needs more memory than there is: the type of least expected loss among smaller types that
    fit."""
    factor = need / _takes(case.plan.candidates[0].memory)
    size = case.artifact.size_bytes
    ways = [one for one in _ways(case) if one.file_bytes < size and _takes(one.memory) * factor <= given]
    if not ways:
        return None
    one = min(ways, key=lambda way: case.loss(way.type).kl_nats)
    memory = memory_size(_takes(one.memory) * factor)
    return Step(_type(one), f"{one.type} would need {memory}, at a loss of {_loss(case, one)}")


def _passing(case: Case) -> Step | None:
    """For an artifact that fails its gate: an importance matrix where it has none, else the smallest type expected to
    pass."""
    limit = (case.gate.get("limits") or {}).get("kl_mean")
    broken = any(not one["passed"] for one in case.receipt.get("checks") or () if one["name"] not in OF_LOSS)
    if broken and (limit is None or (case.kl or 0.0) <= float(limit)):
        return None  # no other type gives it the right template
    if _may_be_guided(case, even_if_refused=True):
        return _guided(case)
    most = min(float(limit), case.kl or float(limit)) if limit is not None else WORTHWHILE * (case.kl or 0.0)
    return _better(case, most)


def _lost_more(case: Case) -> bool:
    told = (case.receipt.get("prediction") or {}).get("kl_nats") or {}
    return _worse(told) > 1 and (case.kl or 0.0) > NEGLIGIBLE


def _may_be_guided(case: Case, *, even_if_refused: bool = False) -> bool:
    """Whether an importance matrix would help and was not used; a matrix that the user refused is not offered again."""
    plan = case.plan
    refused = any(one.name == "imatrix" and one.source == "user" for one in plan.choices)
    guided = plan.imatrix or plan.method != "gguf" or plan.bits > GUIDED_BITS or plan.discard_source
    guided = guided or bool(case.receipt.get("sequence_loss") or case.receipt.get("similarity"))
    return not guided and (even_if_refused or not refused)


def _guided(case: Case) -> Step:
    text = f"An importance matrix lowers the loss of {case.type} at the same size"
    return Step({"type": case.artifact.type or None, "imatrix": True}, text)


def _lighter(case: Case) -> Step | None:
    """For a user who wants a small or fast file: a smaller type whose loss is expected to be little."""
    size = case.artifact.size_bytes
    ways = [one for one in _ways(case) if one.file_bytes < size and case.loss(one.type).kl_nats <= LITTLE]
    if not ways:
        return None
    saved = file_size(size - ways[0].file_bytes)
    return Step(_type(ways[0]), f"{ways[0].type} would be {saved} smaller, at a loss of {_loss(case, ways[0])}")


def _better(case: Case, most: float) -> Step | None:
    """The smallest larger type that is expected to lose at most `most` nats a token."""
    size = case.artifact.size_bytes
    ways = [one for one in _ways(case) if one.file_bytes > size and case.loss(one.type).kl_nats <= most]
    if not ways:
        return None
    one = ways[0]
    share = case.loss(one.type).kl_nats / case.kl if case.kl else None
    gain = f"{less(share)} ({_loss(case, one)})" if share is not None else f"lose {_loss(case, one)}"
    return Step(_type(one), f"{one.type} would {gain} for {file_size(one.file_bytes - size)} more")


def _type(one: Candidate) -> dict[str, Any]:
    """The slots that ask for the candidate: its bits where its type is no more than these ("4bit"), else its type."""
    if one.type == f"{one.bits}bit":
        return {"bits": one.bits, "type": None}
    return {"type": one.type, "bits": None}


def _loss(case: Case, one: Candidate) -> str:
    found = case.loss(one.type)
    how = "as measured here" if found.origin == "measured here" else "expected"
    return f"{nats(found.kl_nats)} nats a token {how}"


SHARES = (
    (0.42, 0.58, "halve the loss"),
    (0.29, 0.42, "cut the loss to a third"),
    (0.22, 0.29, "cut the loss to a quarter"),
)


def less(share: float) -> str:
    """Return in words the share of the loss that is left: "halve the loss"."""
    named = next((words for low, high, words in SHARES if low <= share < high), None)
    return named or f"leave {share * 100:.0f} % of the loss"
