"""Examines a model before a byte of its weights is fetched: can it be quantized here, and what will it cost?

Pure: facts that others gathered go in, findings come out. Knows no file, no network and no terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lqmf.errors import LqmfError, ModelError, ResourceError, UsageError
from lqmf.fit import words
from lqmf.model_files.template_check import Template
from lqmf.planning.compatibility import traits
from lqmf.records import Candidate, Estimate, Hardware, ModelInfo, ModelRef, QuantizationPlan, Verdict
from lqmf.units import duration, file_size, memory_size

if TYPE_CHECKING:
    from lqmf.fit.solver import Solution
    from lqmf.hub.published import PublishedGguf

Answer = Literal["yes", "no", "but", "unknown"]


@dataclass(frozen=True)
class Finding:
    """The result of one check. "yes": nothing stands in the way; "but": it can be done, with the limits in `detail`;
    "no": it cannot, and `remedy` is the way out; "unknown": it cannot be told beforehand."""

    name: str
    answer: Answer
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Tokenizer:
    """The state of llama.cpp's support for this tokenizer: "known" by the converter, "matched" by behaviour, "differs"
    where some lines become other tokens, "unknown" to both, "unchecked" where its files could not be read or compared,
    "none" where there are none."""

    state: Literal["known", "matched", "differs", "unknown", "unchecked", "none"]
    detail: str


@dataclass(frozen=True)
class Facts:
    """The facts that a preflight needs. `present` is the folder with the weights on this machine, or None;
    `disk_free_bytes` is free at `place`, the workspace; `published` is None where the Hub was not asked; `verdicts` are
    by method; `fit_error` is the error that kept a plan from being made."""

    info: ModelInfo
    hardware: Hardware
    tokenizer: Tokenizer
    template: Template
    verdicts: Mapping[str, Verdict]
    download_bytes: int
    disk_free_bytes: int
    place: Path
    present: Path | None = None
    published: tuple[PublishedGguf, ...] | None = None
    plan: QuantizationPlan | None = None
    solution: Solution | None = None
    fit_error: LqmfError | None = None


@dataclass(frozen=True)
class Preflight:
    """The answer of a preflight. `possible` is False where any finding is a no; `methods` has every method's
    verdict."""

    model: str
    possible: bool
    findings: tuple[Finding, ...]
    methods: Mapping[str, Verdict]
    published: tuple[PublishedGguf, ...] | None = None
    estimate: Estimate | None = None
    solution: Solution | None = None


def examine(facts: Facts) -> Preflight:
    """Return every finding in the order in which a person asks: may I have the model, can it be converted, what will it
    cost, will it fit?"""
    model = [*_access(facts.info), _weights(facts.info), *_architecture(facts), _tokenizer(facts), _template(facts)]
    where = [*_published(facts), *_present(facts), _download(facts)]
    findings = (*model, *where, *_costs(facts))
    if fit := _fit(facts, blocked=any(finding.answer == "no" for finding in findings)):
        findings += (fit,)
    return Preflight(
        model=_typed(facts.info.ref),
        possible=all(finding.answer != "no" for finding in findings),
        findings=findings,
        methods=facts.verdicts,
        published=facts.published,
        estimate=facts.plan.estimate if facts.plan else None,
        solution=facts.solution,
    )


def _typed(ref: ModelRef) -> str:
    """Return the model's name as the user types it."""
    return ref.path or ref.id if ref.kind == "local" else f"{ref.id}@{ref.revision}" if ref.revision else ref.id


# ---------------------------------------------------------------- the model


def _access(info: ModelInfo) -> Iterator[Finding]:
    if info.ref.kind != "hub":
        return
    page = f"https://huggingface.co/{info.ref.id}"
    closed = f"{info.access}, and no token with access is here"
    yield {
        "open": Finding("access", "yes", "open to everybody"),
        "granted": Finding("access", "yes", "gated, and your token has access"),
        "gated": Finding("access", "no", closed, f"Accept its terms at {page}, then `lqmf hf login`."),
        "private": Finding("access", "no", closed, "`lqmf hf login` with a token that may read it."),
    }[info.access]
    yield _licence(info.license)


def _licence(name: str | None) -> Finding:
    if name is None:
        return Finding("licence", "unknown", "it names none", "Read its card before you pass anything on.")
    if "-nc" in name.lower() or "noncommercial" in name.lower():
        return Finding("licence", "but", f"{name}: not for commercial use")
    return Finding("licence", "yes", name)


def _weights(info: ModelInfo) -> Finding:
    if info.weights_format == "pickle":
        reason = "pickled Python objects only, which can run code when read: they are never opened"
        return Finding("weights", "no", reason, "Take a repository of this model that has *.safetensors files.")
    if info.weights_format == "none":
        return Finding("weights", "no", "there are none", "Name a repository with *.safetensors files.")
    count, large = info.parameters or 0, (info.parameters or 0) >= 1e9
    said = f"{count / (1e9 if large else 1e6):.3g} {'b' if large else 'm'}illion parameters, " if count else ""
    return Finding("weights", "yes", f"{said}{info.dtype or 'safetensors'}, {file_size(info.weights_bytes)}")


def _architecture(facts: Facts) -> Iterator[Finding]:
    info, (method, verdict) = facts.info, _chosen(facts)
    kind = ", ".join(traits(info))
    if info.architecture:
        yield Finding("architecture", "yes", f"{info.architecture}: {kind}")
    if info.weights_format != "safetensors" or not info.has_tokenizer:
        return  # said already, and the method would only say it again
    others = [name for name, each in facts.verdicts.items() if name != method and each.answer != "no"]
    also = f" Also by {', '.join(others)}." if others else ""
    yield Finding("method", verdict.answer, f"{method}: {verdict.reason}{also}", verdict.remedy)


def _chosen(facts: Facts) -> tuple[str, Verdict]:
    """Return the plan's method with its verdict; without a plan, the method that comes nearest to a yes."""
    if facts.plan and facts.plan.method in facts.verdicts:
        return facts.plan.method, facts.verdicts[facts.plan.method]
    order = ("yes", "but", "no")
    return min(facts.verdicts.items(), key=lambda pair: order.index(pair[1].answer))


def _tokenizer(facts: Facts) -> Finding:
    said = facts.tokenizer
    answers: Mapping[str, Answer] = {"known": "yes", "matched": "yes", "differs": "but", "unchecked": "unknown"}
    remedy = {
        "unknown": "Take a model with a tokenizer that llama.cpp has, or another method.",
        "none": "Take a repository that holds a tokenizer.",
    }
    return Finding("tokenizer", answers.get(said.state, "no"), said.detail, remedy.get(said.state, ""))


def _template(facts: Facts) -> Finding:
    said = facts.template
    if said.state == "none":
        return Finding("chat template", "but", "none: it continues a text, and holds no conversation")
    if said.state == "fails":
        return Finding("chat template", "but", said.detail, "Give plain prompts, or a template of your own.")
    found: Answer = "yes" if said.state == "renders" else "unknown"
    return Finding("chat template", found, said.detail or "it renders a dialogue")


# ---------------------------------------------------------------- where it is


def _published(facts: Facts) -> Iterator[Finding]:
    if facts.info.ref.kind != "hub":
        return
    if facts.published is None:
        yield Finding("published", "unknown", "whether somebody has a GGUF of it: the Hub was not asked")
    elif not facts.published:
        yield Finding("published", "yes", "nobody has a GGUF that names it as its base")
    else:
        most = facts.published[0]
        others = f", and {len(facts.published) - 1} more" if len(facts.published) > 1 else ""
        detail = f"a GGUF of it is at {most.id} ({most.downloads:,} downloads a month){others}"
        yield Finding("published", "yes", detail)


def _present(facts: Facts) -> Iterator[Finding]:
    if facts.present is not None:
        yield Finding("on this machine", "yes", str(facts.present))


def _download(facts: Facts) -> Finding:
    if not facts.download_bytes:
        return Finding("download", "yes", "nothing")
    part = "; the rest is here already" if facts.download_bytes < facts.info.weights_bytes else ""
    return Finding("download", "yes", f"{file_size(facts.download_bytes)}{part}")


# ---------------------------------------------------------------- what it costs


def _costs(facts: Facts) -> Iterator[Finding]:
    plan = facts.plan
    if plan is None or plan.estimate is None:
        return
    estimate = plan.estimate.with_download(facts.download_bytes, plan.estimate.kept_bytes)
    yield _disk(estimate, facts, plan)
    yield _memory(estimate, facts.hardware)
    if estimate.seconds is not None:
        took = duration(estimate.seconds)
        yield Finding("time", "yes", f"about {took} to quantize, plus downloading and testing")


def _disk(estimate: Estimate, facts: Facts, plan: QuantizationPlan) -> Finding:
    peak = estimate.disk_peak_bytes
    source = 0 if plan.discard_source else estimate.download_bytes
    end = peak if plan.keep_16bit else estimate.size_bytes + source
    free = f"{file_size(facts.disk_free_bytes)} are free in {facts.place}"
    detail = f"{file_size(peak)} on the way, {file_size(end)} at the end; {free}"
    if peak <= facts.disk_free_bytes:
        return Finding("disk", "yes", detail)
    lacking = file_size(peak - facts.disk_free_bytes)
    remedy = f"`lqmf disk` shows what can go ({lacking} are lacking); or take another disk: `--workspace DIR`."
    return Finding("disk", "no", detail, remedy)


def _memory(estimate: Estimate, hardware: Hardware) -> Finding:
    need, free, whole = estimate.ram_peak_bytes, hardware.ram_available_bytes, hardware.ram_total_bytes
    detail = f"{memory_size(need)} of RAM to quantize; {memory_size(free)} of {memory_size(whole)} are free"
    if need > whole:
        return Finding("memory", "no", detail, "Quantize it on a machine with more memory, or take a smaller model.")
    if need > free:
        return Finding("memory", "but", detail, "Close other programs first.")
    return Finding("memory", "yes", detail)


# ---------------------------------------------------------------- will it fit


def _fit(facts: Facts, *, blocked: bool) -> Finding | None:
    """Return the finding on the fit; None where an earlier "no" already tells why there is nothing to fit."""
    if facts.solution is not None:
        return _solved(facts.solution)
    error = facts.fit_error
    if error is None or (blocked and not isinstance(error, ResourceError)):
        return None
    answer: Answer = "no" if isinstance(error, ModelError | ResourceError | UsageError) else "unknown"
    return Finding("fit" if isinstance(error, ResourceError) else "plan", answer, error.message, error.remedy)


def _solved(solution: Solution) -> Finding:
    if solution.recommended is not None:
        chosen = solution.recommended
        return Finding("fit", "yes", f"{chosen.type} with {_context(chosen)}: {words.memory(chosen.memory)}")
    ways = " ".join(solution.ways_out) or "Take a smaller model, or a machine with more memory."
    if solution.least is None:
        return Finding("fit", "no", "nothing fits", ways)
    least = solution.least
    return Finding("fit", "no", f"even {least.type} with {_context(least)} needs {words.memory(least.memory)}", ways)


def _context(candidate: Candidate) -> str:
    chats = f" for each of {candidate.run.parallel} chats" if candidate.run.parallel > 1 else " of context"
    return f"{candidate.run.context:,} tokens{chats}"
