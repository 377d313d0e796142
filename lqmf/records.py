"""The vocabulary: frozen records that one part hands to the next. Knows no files, no clocks, no libraries.

Utterance -> Decision -> QuantizationPlan -> Job -> Artifact (Manifest + Receipt).
All sizes are bytes, all times seconds, unless a name says otherwise.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

R = TypeVar("R")

Status = Literal["running", "done", "failed", "cancelled", "interrupted"]
Source = Literal["user", "rules", "provider", "settings"]


def to_json(record: Any) -> Any:
    """A record as plain dicts, lists and scalars, ready for json.dumps."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: to_json(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, list | tuple | set | frozenset):
        return [to_json(value) for value in record]
    return record


def from_json(cls: type[R], document: Mapping[str, Any]) -> R:
    """The record that `to_json` wrote: nested records and tuples are restored, unknown keys are ignored."""
    hints = typing.get_type_hints(cls)
    fields = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return cls(**{k: _restore(hints[k], v) for k, v in document.items() if k in fields})


def _restore(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _restore(next(a for a in args if a is not type(None)), value)
    if origin is tuple:
        return tuple(_restore(args[0], item) for item in value)
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type, hint), value)
    if origin in (dict, Mapping) and args and dataclasses.is_dataclass(args[1]):
        return {key: _restore(args[1], item) for key, item in value.items()}
    return value


# ---------------------------------------------------------------- understanding


@dataclass(frozen=True)
class Utterance:
    """One line that the user typed."""

    text: str
    session: str = ""


@dataclass(frozen=True)
class Decision:
    """What a line was understood as. `slots` holds only what was said, now or earlier in the dialogue.

    `confidence` is 0..1; `reason` says which rule read it so; `conflicts` names contradictions
    ("8-bit Q4_K_M") that the planner must ask about.
    """

    intent: str
    slots: Mapping[str, Any] = field(default_factory=dict)
    confidence: float = 1.0
    reason: str = ""
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """One answer to a question. `value` is what the slot becomes."""

    value: Any
    label: str


@dataclass(frozen=True)
class Question:
    """Something only the user can say. `id` is the slot (or topic) that the answer fills.

    `kind`: "plan" (--yes takes the default), "confirm" (a typed yes, or --force), "secret" (masked input).
    `reason` is what "why?" prints. Empty `options` means free text.
    """

    id: str
    text: str
    options: tuple[Option, ...] = ()
    default: Any = None
    reason: str = ""
    kind: Literal["plan", "confirm", "secret"] = "plan"


# ---------------------------------------------------------------- machine and model


@dataclass(frozen=True)
class Gpu:
    name: str
    memory_total_bytes: int
    memory_free_bytes: int


@dataclass(frozen=True)
class Hardware:
    """What this machine has, read at `hardware.detect()`."""

    cpu: str
    cores: int
    ram_total_bytes: int
    ram_available_bytes: int
    gpus: tuple[Gpu, ...] = ()
    platform: str = ""


@dataclass(frozen=True)
class ModelRef:
    """A model as the user means it. `kind` hub: `id` is org/name; local: `path` is the folder; demo: bundled."""

    kind: Literal["hub", "local", "demo"]
    id: str
    revision: str | None = None
    path: str | None = None


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository at one commit. `sha256` for LFS files, `git_oid` (blob SHA-1) for the others."""

    path: str
    size_bytes: int
    sha256: str | None = None
    git_oid: str | None = None


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without its weights.

    `files` are those that a quantization needs. `weights_bytes` is what they hold of weights, `dtype` their most
    common type ("BF16"). `access` says whether the files may be read: "open", "granted", "gated" or "private".
    """

    ref: ModelRef
    commit: str | None
    architecture: str | None
    model_type: str | None
    config: Mapping[str, Any]
    files: tuple[RemoteFile, ...]
    weights_bytes: int
    parameters: int | None = None
    dtype: str | None = None
    context_length: int | None = None
    vocabulary: int | None = None
    weights_format: Literal["safetensors", "pickle", "none"] = "safetensors"
    has_tokenizer: bool = True
    has_chat_template: bool = False
    wants_remote_code: bool = False
    access: Literal["open", "granted", "gated", "private"] = "open"
    license: str | None = None
    languages: tuple[str, ...] = ()  # codes, as the model's card has them


# ---------------------------------------------------------------- fit


@dataclass(frozen=True)
class Run:
    """How a model is run: what a plan was fitted for, what a manifest keeps, what an engine is opened with.

    `context` in tokens, for each of `parallel` chats; `k_type` and `v_type` are llama.cpp's names for the cached keys
    and values ("f16", "q8_0", "q4_0"); `gpu_layers` counts from the end, the output head as one more (llama.cpp's
    n_gpu_layers); `ubatch` is the number of prompt tokens computed at once.
    """

    context: int
    parallel: int = 1
    k_type: str = "f16"
    v_type: str = "f16"
    gpu_layers: int = 0
    ubatch: int = 512

    @property
    def cells(self) -> int:
        """Tokens that the cache holds, of all chats."""
        return self.context * self.parallel

    @property
    def cache(self) -> str:
        """The cache's type: "q8_0", or of keys and of values, "q8_0/q4_0"."""
        return self.k_type if self.k_type == self.v_type else f"{self.k_type}/{self.v_type}"


@dataclass(frozen=True)
class Footprint:
    """The memory that running takes, in bytes, by what it is and where it lies."""

    weights_ram: int
    cache_ram: int
    compute_ram: int
    program_ram: int  # interpreter, libraries
    weights_gpu: int = 0
    cache_gpu: int = 0
    compute_gpu: int = 0
    program_gpu: int = 0  # the driver's context, its libraries

    @property
    def ram(self) -> int:
        return self.weights_ram + self.cache_ram + self.compute_ram + self.program_ram

    @property
    def gpu(self) -> int:
        return self.weights_gpu + self.cache_gpu + self.compute_gpu + self.program_gpu

    @property
    def total(self) -> int:
        return self.ram + self.gpu


@dataclass(frozen=True)
class Loss:
    """Expected KL divergence from the source in nats a token, and what that expectation rests on."""

    kl_nats: float
    origin: str


@dataclass(frozen=True)
class Speed:
    """Expected tokens a second, of one chat on an empty context: reading a prompt, and writing."""

    prompt: float
    generation: float


@dataclass(frozen=True)
class Candidate:
    """One way to run a model: what to make of it, and how to run that. `read_bytes` is what one token reads of the
    weights: what orders speeds where none was measured."""

    method: str
    type: str
    bits: int
    run: Run
    file_bytes: int
    memory: Footprint
    loss: Loss
    read_bytes: int
    speed: Speed | None = None

    @property
    def id(self) -> str:
        """What names it in a list of candidates: "gguf:Q4_K_M:8192:q8_0/q8_0:33:512"."""
        run = self.run
        cache = f"{run.k_type}/{run.v_type}"
        return f"{self.method}:{self.type}:{run.context}:{cache}:{run.gpu_layers}:{run.ubatch}"


# ---------------------------------------------------------------- plan


@dataclass(frozen=True)
class Choice:
    """One field of a plan, and why it has this value."""

    name: str
    value: Any
    reason: str
    source: Source = "rules"


@dataclass(frozen=True)
class Verdict:
    """A backend's answer to "can you quantize this, here?"; `remedy` is the way out of a no."""

    answer: Literal["yes", "no", "but"]
    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Estimate:
    """What a plan is expected to cost, before it starts."""

    size_bytes: int
    disk_peak_bytes: int
    ram_peak_bytes: int
    seconds: float | None = None
    download_bytes: int = 0
    kept_bytes: int | None = None  # of the download, the most that lies on the disk at once; None: all of it

    def with_download(self, download_bytes: int, kept_bytes: int | None = None) -> Estimate:
        """The same work with so much still to be fetched; the files stay beside what is made, but for what passes."""
        before = self.download_bytes if self.kept_bytes is None else self.kept_bytes
        after = download_bytes if kept_bytes is None else min(kept_bytes, download_bytes)
        peak = self.disk_peak_bytes - before + after
        kept = None if kept_bytes is None else after
        return dataclasses.replace(self, download_bytes=download_bytes, kept_bytes=kept, disk_peak_bytes=peak)


@dataclass(frozen=True)
class QuantizationPlan:
    """A decision made complete: everything that an executor needs, each field with its reason in `choices`."""

    id: str
    model: ModelRef
    commit: str | None
    method: str  # a backend's name
    bits: int
    type: str  # llama.cpp's spelling for gguf ("Q4_K_M"), nf4/fp4/int8 for bnb, "" for gptq
    format: Literal["gguf", "safetensors"]
    device: Literal["cpu", "gpu"]
    context: int | None = None
    memory_bytes: int | None = None
    priority: str | None = None
    cpu_fallback: bool = False
    calibration: str | None = None  # a text, or an importance matrix in llama.cpp's GGUF format; None: built-in text
    imatrix: bool = False  # whether an importance matrix guides the quantization
    target_bytes: int | None = None  # of the file, where each tensor's type is chosen for that size (type "auto")
    keep: tuple[str, ...] = ()  # tensors whose type is fixed, as `--keep output=Q8_0` says it
    base: Literal["F16", "Q8_0"] | None = None  # what is made on the way to calibrate on and to measure against
    discard_source: bool = False  # each downloaded shard goes once its tensors are done
    adapter: str | None = None  # a LoRA's folder, merged into the weights on the way
    parameters: Mapping[str, Any] = field(default_factory=dict)  # the method's own, by name: {"group_size": 128}
    keep_16bit: bool = False
    allow_remote_code: bool = False
    test: Literal["none", "quick", "comprehensive"] = "quick"
    choices: tuple[Choice, ...] = ()
    estimate: Estimate | None = None
    run: Run | None = None  # how the result is to be run
    prediction: Mapping[str, float] = field(default_factory=dict)  # what a test here will find, by quantity
    uncorrected: Mapping[str, float] = field(default_factory=dict)  # the same before what was learnt was applied
    candidates: tuple[Candidate, ...] = ()  # what there was to choose between, the best first
    others: tuple[Candidate, ...] = ()  # the usual types that fit too, run likewise: what may be made next


# ---------------------------------------------------------------- advice


@dataclass(frozen=True)
class Advice:
    """What a provider's model said to a plan, as far as it was let stand.

    `slots` is what it fills in of the request, nothing that the user said; empty where it agrees or was left out.
    `dropped` says what of its answer was left out, and why.
    """

    provider: str
    model: str
    slots: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    notes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suggestion:
    """A model that a provider named for what was described. `state`: the Hub knows it, has it behind a licence, or
    could not be asked; `parameters` and `license` are the Hub's."""

    id: str
    reason: str
    state: Literal["verified", "gated", "unverified"]
    parameters: int | None = None
    license: str | None = None


# ---------------------------------------------------------------- job


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do: `kind` names a module in `lqmf/jobs/tasks/`, `params` is plain JSON."""

    job: str
    kind: str
    params: Mapping[str, Any]
    log: str  # path that takes the libraries' chatter


@dataclass(frozen=True)
class Job:
    """One piece of work as the store knows it. `stage` is where it is, or where it ended."""

    id: str
    kind: str
    title: str
    status: Status
    plan: Mapping[str, Any] = field(default_factory=dict)
    stage: str = ""
    attempts: int = 1
    started_at: float = 0.0
    ended_at: float | None = None
    error: Mapping[str, Any] | None = None
    artifact: str | None = None


# ---------------------------------------------------------------- artifact


@dataclass(frozen=True)
class FileEntry:
    """An immutable file of an artifact (weights, tokenizer, config), or a rewritable one (receipt, card)."""

    path: str  # relative to the artifact's folder, with forward slashes
    size_bytes: int
    sha256: str
    immutable: bool = True


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`: what an artifact is, from what, made how, by which versions. Enough to make it again."""

    format_version: int
    name: str
    model: ModelRef
    commit: str | None
    source_sha256: Mapping[str, str]  # source file -> SHA-256
    plan: Mapping[str, Any]
    files: tuple[FileEntry, ...]
    versions: Mapping[str, str]
    created_at: str  # ISO 8601, UTC
    source_size_bytes: int
    license: str | None = None  # the source model's, as the Hub spells it
    languages: tuple[str, ...] = ()  # the source model's, as its card has them
    model_type: str | None = None  # as its configuration has it: "llama"
    run: Mapping[str, Any] = field(default_factory=dict)
    imatrix: Mapping[str, Any] | None = None  # its text, hash and settings
    calibration: Mapping[str, Any] | None = None  # of a method that calibrates without a matrix: text, hash, windows
    tensors: Mapping[str, str] = field(default_factory=dict)  # each tensor's type
    adapter: Mapping[str, str] | None = None  # what was merged into the weights: {"name", "sha256"}
    hardware: Mapping[str, Any] = field(default_factory=dict)  # where it was made: {"cpu", "cores", "ram_bytes",
    # "gpus": [{"name", "memory_bytes"}], "platform"}; nothing that names the machine or its owner


@dataclass(frozen=True)
class Artifact:
    """A finished, visible output folder."""

    name: str
    path: str
    method: str
    bits: int
    type: str
    size_bytes: int
    source_size_bytes: int | None
    compression_ratio: float | None
    model: str = ""
    created_at: str = ""
    foreign: bool = False  # found on disk, not made by LQMF
    receipt: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Divergence:
    """KL divergence from source to artifact in nats a token; see the design for what it is taken over."""

    mean: float
    standard_error: float
    p50: float
    p90: float
    p99: float
    max: float
    noise_floor: float | None = None


@dataclass(frozen=True)
class Check:
    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Receipt:
    """`receipt.json`: how good an artifact is. Field names and units are the design's; None was not measured,
    and `reasons` then says why, by field name."""

    base: Mapping[str, Any] | None = None  # {"perplexity", "standard_error", "engine", "noise", "model": its name}
    perplexity: float | None = None
    perplexity_standard_error: float | None = None
    perplexity_ratio: Mapping[str, float] | None = None  # artifact over source: {"value", "standard_error"}, paired
    right_token: Mapping[str, float] | None = None  # change of the text's own next token's probability, 0..1:
    # {"mean_change", "rms_change", "standard_error"}, artifact minus source
    kl_divergence: Divergence | None = None
    top1_agreement: float | None = None
    similarity: Mapping[str, Any] | None = None  # of an encoder, artifact against source: {"embedding_cosine":
    # {"mean", "min", "between_texts"}, "token_cosine": {"mean", "p1", "min"}, "texts"}
    sequence_loss: Mapping[str, float | None] | None = None  # of an encoder-decoder's known answers, nats a token:
    # {"artifact", "source", "change", "standard_error"}
    tokens_evaluated: int = 0
    window_tokens: int = 0
    text: Mapping[str, str] | None = None  # {"name", "sha256"}
    domains: Mapping[str, Any] = field(default_factory=dict)  # {"prose": the same figures on another kind of text}
    conversion: Mapping[str, Any] | None = None  # the 16-bit GGUF against the model as transformers runs it:
    # {"kl_divergence", "top1_agreement", "largest_logit_error", "noise_floor", "limit_nats", ..}
    checks: tuple[Check, ...] = ()
    first_logits: Mapping[str, Any] | None = None  # what it expects after one sentence: {"tokens", "top"}, for verify
    prediction: Mapping[str, Any] = field(default_factory=dict)
    latency_seconds: Mapping[str, float] | None = None  # {"first_token", "per_response"}
    tokens_per_second: Mapping[str, float] | None = None  # {"prompt", "generation"}
    peak_memory_bytes: Mapping[str, int | None] | None = None  # {"rss", "gpu"}
    load_seconds: float | None = None
    bits_per_weight: float | None = None
    size_bytes: int | None = None
    gate: Mapping[str, Any] | None = None  # {"passed": None where it is not known, "reasons", "limits"}
    measured_on: Mapping[str, str | None] | None = None  # {"cpu", "gpu", "engine"}
    samples: tuple[Mapping[str, Any], ...] = ()  # {"prompt", "response", "tokens"}
    utilization: Mapping[str, float | None] | None = None  # {"cpu", "gpu"}, percent
    reasons: Mapping[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------- one turn's outcome


@dataclass(frozen=True)
class Proposal:
    """What may be done next: `text` says what it would bring, `decision` is what a yes to it means."""

    text: str
    decision: Decision


@dataclass(frozen=True)
class Feedback:
    """What is said when a job is done: what came of it, and what may be made next."""

    sentences: tuple[str, ...] = ()
    proposal: Proposal | None = None


@dataclass(frozen=True)
class Outcome:
    """What a command or a turn gives back: `data` is the `--json` document; `view` is a rich renderable,
    or a string, for people. `failed` marks a turn that makes a replay exit 1. `proposal` may be accepted next."""

    data: Any
    view: Any = None
    exit_code: int = 0
    proposal: Proposal | None = None

    @property
    def failed(self) -> bool:
        return self.exit_code not in (0, 130)
