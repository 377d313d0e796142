"""The table of measures: where a receipt holds each figure, its label and unit, how it is written, which way is better,
and how two values are told apart. The receipt's view, the model card, comparisons, the report and the reference all
read this table; a new measure is a row here, and with `take` a function that measures it.

Knows receipts and units; draws nothing, and knows no engine but by its promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lqmf.quality.compare import significance
from lqmf.units import duration, file_size, memory_size, milliseconds, percent, rate, small

if TYPE_CHECKING:
    from lqmf.engines.promise import Engine
    from lqmf.records import Artifact

Better = Literal["lower", "higher"]
Group = Literal["file", "quality", "machine"]
Document = Mapping[str, Any]  # a receipt as JSON with the artifact's sizes: what `document` gives
Line = tuple[str, str, str]  # label, figure, remark
NONE = "-"
BUSY = 0.25  # programs that want a processor, for each one: beyond it speeds are not reliable
NAMED_UNITS = ("nats/token", "tokens/s")  # units that a figure is written without


@dataclass(frozen=True)
class Measure:
    """A figure of a receipt.

    `path` leads to the figure in the receipt: ("figures", id) for a figure that `take` measures on the running engine.
    `needs` names what must hold for two values to be comparable: the same "text", "amount", "model", "machine", none
    "busy".
    `tested` says how two values are told apart: by their `error`, exactly, beyond a tolerance, or not at all (None).
    Where `paired` leads to a value and a standard error measured token by token against the source, these replace the
    figure and its `error`. An `optional` measure is left out where no value was measured; a measure `within` another
    one stands in that one's remark, and has no line of its own.
    """

    id: str
    label: str
    path: tuple[str, ...]
    unit: str
    write: Callable[[float], str]
    about: str
    group: Group = "quality"
    better: Better | None = None
    needs: tuple[str, ...] = ()
    tested: Literal["exact", "error bars", "tolerance"] | None = None
    error: Callable[[Document], float | None] | None = None
    paired: tuple[str, ...] = ()
    remark: Callable[[Document], str] | None = None
    optional: bool = False
    within: str = ""
    timed: bool = False  # a speed or a time: a benchmark measures it better, and a busy machine spoils it
    take: Callable[[Engine], float] | None = None

    @property
    def heading(self) -> str:
        """Return the label with a capital letter, to begin a line."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def title(self) -> str:
        """Return the label with its unit, to head figures written without a unit."""
        return titled(self.label, self.unit)

    def value(self, document: Document) -> float | None:
        """Return the figure in `document`; None where it was not measured."""
        return number(document, *self.path)

    def line(self, document: Document) -> Line:
        """Return (label, figure, remark) for `document`; for a figure that was not measured the remark is the
        reason."""
        value = self.value(document)
        if value is None:
            return self.label, NONE, reason(document, *self.path)
        unit = f" {self.unit}" if self.unit == "tokens/s" else ""
        if self.timed and busy(document):
            return self.label, self.write(value) + unit, "not reliable: other programs kept the machine busy"
        return self.label, self.write(value) + unit, self.remark(document) if self.remark else ""


def titled(label: str, unit: str) -> str:
    """Return `label` with `unit` where figures are written without that unit, else `label`."""
    return f"{label}, {unit}" if unit in NAMED_UNITS else label


# ---------------------------------------------------------------- reading a receipt


def document(artifact: Artifact, receipt: Mapping[str, Any] | None) -> Document:
    """Return the receipt with the artifact's sizes in bytes, as measures read it."""
    told = receipt or {}
    unknown = {} if artifact.compression_ratio else {"compression_ratio": "its source's size is not known"}
    return {
        **told,
        "size_bytes": artifact.size_bytes or None,
        "source_size_bytes": artifact.source_size_bytes,
        "compression_ratio": artifact.compression_ratio,
        "reasons": {**as_mapping(told.get("reasons")), **unknown},
    }


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, else an empty mapping."""
    return value if isinstance(value, Mapping) else {}


def follow(document: Any, *where: str) -> Any:
    """Return the value in `document` below the keys `where`; None where a key is missing."""
    for name in where:
        document = as_mapping(document).get(name)
    return document


def as_number(value: Any) -> float | None:
    """Return `value` if it is a finite number, else None."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return value if real and math.isfinite(value) else None


def number(document: Any, *where: str) -> float | None:
    """Return the finite number in `document` below the keys `where`, or None."""
    return as_number(follow(document, *where))


def reason(document: Mapping[str, Any], *where: str) -> str:
    """Return why the figure below the keys `where` is missing, from the document's `reasons`; else "not measured"."""
    reasons = as_mapping(document.get("reasons"))
    names = (".".join(where[:end]) for end in range(len(where), 0, -1))
    return next((str(reasons[name]) for name in (*names, "*") if name in reasons), "not measured")


def busy(told: Document) -> bool:
    """Tell whether other programs kept the machine busy while a receipt was taken, so that its speeds and times are not
    reliable. A receipt that does not say it was taken in peace, as all were before."""
    return any((number(told, "load", when) or 0.0) > BUSY for when in ("before", "after"))


def unmeasured(told: Document) -> str | None:
    """Return why a receipt has no figure of quality at all; None where it has one."""
    ids = ("perplexity", "kl_divergence", "top1_agreement", "embedding_cosine", "sequence_loss")
    if any(named(id).value(told) is not None for id in ids):
        return None
    return reason(told, "perplexity")


# ---------------------------------------------------------------- what stands behind a figure


def _of_source(told: Document) -> str:
    model = follow(told, "base", "model")
    unknown = f"measured against {model}" if model else "its source is not known"
    of = f"from {file_size(told['source_size_bytes'])}" if told.get("source_size_bytes") else unknown
    return of + (f", {told['compression_ratio']:.2f} times smaller" if told.get("compression_ratio") else "")


def _spread(told: Document) -> str:
    error, most = number(told, "kl_divergence", "standard_error"), number(told, "kl_divergence", "p99")
    return f"± {small(error)} nats a token; 99 % are below {small(most)}"


def _usual(told: Document) -> str:
    usual = percent(number(told, "right_token", "rms_change"))
    return f"change of the probability of the text's own next token; usually by {usual}"


def _beside_source(told: Document) -> str:
    base, ratio = number(told, "base", "perplexity"), number(told, "perplexity_ratio", "value")
    remark = reason(told, "perplexity") if base is None else f"the source has {base:.3f}"
    error = number(told, "perplexity_ratio", "standard_error")
    return remark if ratio is None else f"{remark}; ratio {ratio:.4f} ± {small(error)}"


def _least_alike(told: Document) -> str:
    least, between = (number(told, "similarity", "embedding_cosine", name) for name in ("min", "between_texts"))
    said = f"of {follow(told, 'similarity', 'texts')} texts"
    said += "" if least is None else f", at least {least:.5f}"
    return said + ("" if between is None else f"; different texts have {between:.4f}")


def _most_alike(told: Document) -> str:
    share = number(told, "similarity", "token_cosine", "p1")
    return "" if share is None else f"99 % are above {share:.5f}"


def _source_loss(told: Document) -> str:
    source = number(told, "sequence_loss", "source")
    return "nats a token of known answers" + ("" if source is None else f"; the source has {source:.4f}")


def _engine(told: Document) -> str:
    return str(follow(told, "measured_on", "engine") or "")


def _whole_answer(told: Document) -> str:
    seconds = number(told, "latency_seconds", "per_response")
    return f"a whole answer takes {duration(seconds)}" if seconds else ""


def _on_gpu(told: Document) -> str:
    gpu = number(told, "peak_memory_bytes", "gpu")
    return f"and {memory_size(gpu)} on the GPU" if gpu else ""


def _gpu_in_use(told: Document) -> str:
    gpu = number(told, "utilization", "gpu")
    return "" if gpu is None else f"GPU {gpu:.0f} %"


def _share_error(told: Document) -> float | None:
    share, tokens = number(told, "top1_agreement"), int(number(told, "tokens_evaluated") or 0)
    return None if share is None else significance.share_error(share, tokens)


def _conversion(told: Document) -> str:
    """Say what converting to GGUF alone changed, before anything was quantized."""
    found = told["conversion"]
    remark = f"between the 16-bit GGUF and the model itself ({found['source']['engine']})"
    if (largest := found.get("largest_logit_error")) is not None:
        remark += f"; same top choice {percent(found.get('top1_agreement'))}, logits within {largest:.3g}"
    if found.get("ignored_window"):
        remark += f"; llama.cpp ignores its sliding window of {found['ignored_window']} tokens, beyond which it differs"
    elif found.get("long_window_reason"):
        remark += f"; beyond its sliding window of {found['sliding_window']} tokens not compared"
    return remark


# ---------------------------------------------------------------- the table

QUALITY = ("text", "model")  # what must be the same for two losses to be comparable

MEASURES = [
    Measure(
        "size_bytes", "size", ("size_bytes",), "bytes", file_size, "Size of the weights and what lies beside them",
        "file", "lower", tested="exact", remark=_of_source,
    ),
    Measure(
        "bits_per_weight", "bits per weight", ("bits_per_weight",), "bits", "{:.2f}".format, "Bits per weight",
        "file", "lower", tested="exact",
    ),
    Measure(
        "compression_ratio", "compression", ("compression_ratio",), "times", "{:.2f}".format,
        "Size of the source, by that of the artifact", "file", "higher", tested="exact", within="size_bytes",
    ),
    Measure(
        "embedding_cosine", "embedding cosine", ("similarity", "embedding_cosine", "mean"), "cosine", "{:.5f}".format,
        "Cosine of embeddings with the source's, of an encoder", better="higher", needs=QUALITY, remark=_least_alike,
        optional=True,
    ),
    Measure(
        "token_cosine", "token cosine", ("similarity", "token_cosine", "mean"), "cosine", "{:.5f}".format,
        "Cosine of each token's state with the source's, of an encoder", better="higher", needs=QUALITY,
        remark=_most_alike, optional=True,
    ),
    Measure(
        "sequence_loss", "sequence loss", ("sequence_loss", "artifact"), "nats", "{:.4f}".format,
        "Loss on known answers, nats a token, of an encoder-decoder", better="lower", needs=QUALITY,
        remark=_source_loss, optional=True,
    ),
    Measure(
        "kl_divergence", "KL divergence", ("kl_divergence", "mean"), "nats/token", small,
        "KL divergence from the source, nats a token", better="lower", needs=QUALITY, tested="error bars",
        error=lambda told: number(told, "kl_divergence", "standard_error"), remark=_spread,
    ),
    Measure(
        "kl_divergence_p99", "KL, 99th percentile", ("kl_divergence", "p99"), "nats/token", small,
        "KL divergence that 99 % of tokens stay below, nats a token", better="lower", needs=QUALITY,
        within="kl_divergence",
    ),
    Measure(
        "kl_noise_floor", "noise floor", ("kl_divergence", "noise_floor"), "nats/token", small,
        "KL divergence that the same comparison finds of the source and itself, nats a token",
        remark=lambda told: "what the same comparison finds of the source and itself", optional=True,
    ),
    Measure(
        "top1_agreement", "same top choice", ("top1_agreement",), "share", percent,
        "Share of tokens with the source's first choice", better="higher", needs=QUALITY, tested="error bars",
        error=_share_error, remark=lambda told: "of tokens, against the source",
    ),
    Measure(
        "conversion", "conversion", ("conversion", "kl_divergence", "mean"), "nats/token", small,
        "KL divergence of the 16-bit GGUF from the model itself, nats a token", better="lower", needs=QUALITY,
        remark=_conversion,
    ),
    Measure(
        "right_token", "right token", ("right_token", "mean_change"), "share", lambda share: f"{share * 100:+.2f} %",
        "Change of the probability of the text's own next token", remark=_usual, optional=True,
    ),
    Measure(
        "perplexity", "perplexity", ("perplexity",), "", "{:.3f}".format, "Perplexity", better="lower",
        needs=(*QUALITY, "amount"), tested="error bars", error=lambda told: number(told, "perplexity_standard_error"),
        paired=("perplexity_ratio",), remark=_beside_source,
    ),
    Measure(
        "tokens_per_second_generation", "writing", ("tokens_per_second", "generation"), "tokens/s", rate,
        "Tokens written a second", "machine", "higher", ("machine", "busy"), remark=_engine, timed=True,
    ),
    Measure(
        "tokens_per_second_prompt", "reading", ("tokens_per_second", "prompt"), "tokens/s", rate,
        "Tokens of a prompt read a second", "machine", "higher", ("machine", "busy"), timed=True,
    ),
    Measure(
        "first_token_seconds", "first token", ("latency_seconds", "first_token"), "seconds", milliseconds,
        "Time to the first token of an answer", "machine", "lower", ("machine", "busy"), remark=_whole_answer,
        timed=True,
    ),
    Measure(
        "load_seconds", "loading", ("load_seconds",), "seconds", duration, "Time to load the model", "machine", "lower",
        ("machine", "busy"), timed=True,
    ),
    Measure(
        "peak_rss_bytes", "peak memory", ("peak_memory_bytes", "rss"), "bytes", memory_size,
        "Most memory of the process that ran it", "machine", "lower", ("machine",), "tolerance", remark=_on_gpu,
    ),
    Measure(
        "peak_gpu_bytes", "peak GPU memory", ("peak_memory_bytes", "gpu"), "bytes", memory_size,
        "Most GPU memory of the process that ran it", "machine", "lower", ("machine",), "tolerance", optional=True,
        within="peak_rss_bytes",
    ),
    Measure(
        "cpu_percent", "CPU in use", ("utilization", "cpu"), "percent", "{:.0f} %".format,
        "Share of the processor in use while it wrote", "machine", remark=_gpu_in_use, optional=True,
    ),
]  # fmt: skip


def named(id: str) -> Measure:
    """Return the measure of this id. Raises KeyError."""
    return {one.id: one for one in MEASURES}[id]


def shown(document: Document, group: Group) -> Iterator[Measure]:
    """Yield the measures of `group` that have a line of their own for this receipt, measured or with a reason."""
    silent = group == "quality" and document.get("similarity") is not None  # an encoder makes no predictions
    for one in MEASURES:
        if one.group == group and not one.within and (one.value(document) is not None or not (one.optional or silent)):
            yield one


def taken(engine: Engine) -> dict[str, float]:
    """Return the receipt's `figures`: the value of each measure that is taken on a running engine, by id."""
    return {one.id: one.take(engine) for one in MEASURES if one.take}


def of_domain(found: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return KL divergence, same top choice, perplexity and the source's perplexity on a domain's text, as written."""
    ids = ("kl_divergence", "top1_agreement", "perplexity")
    figures = [named(id).line(found)[1] for id in ids]
    base = number(found, "base", "perplexity")
    return figures[0], figures[1], figures[2], NONE if base is None else named("perplexity").write(base)
