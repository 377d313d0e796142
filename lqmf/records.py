"""The vocabulary: frozen records that one part hands to the next. Knows no files, no clocks, no libraries.

Utterance -> Decision -> QuantizationPlan -> Job -> Artifact (Manifest + Receipt).
All sizes are bytes, all times seconds, unless a name says otherwise.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypeVar, cast

from annotated_types import Ge
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

if TYPE_CHECKING:
    from pydantic import TypeAdapter

R = TypeVar("R")
T = TypeVar("T")

SizeBytes = Annotated[int, Ge(0)]
Status = Literal["running", "done", "failed", "cancelled", "interrupted"]
UNREADABLE = "its receipt cannot be read"  # how the reason of such a receipt begins
Source = Literal["user", "rules", "provider", "settings"]


class InvalidRecord(ValueError):
    """The error for a document that is not in the form of a record. `problems` names each wrong field: "files.0.sha256
    is missing"."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems[0])
        self.problems = tuple(problems)


def to_json(record: Any) -> Any:
    """Return a record, or a tree that holds records, as plain dicts, lists and scalars, ready for json.dumps."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(record)


def from_json(cls: type[R], document: Any) -> R:
    """Return the record that `to_json` wrote. Types are checked as JSON has them (a text is no number), and unknown
    keys are ignored. Raises InvalidRecord."""
    import pydantic_core

    try:
        text = pydantic_core.to_json(document)
    except (pydantic_core.PydanticSerializationError, UnicodeError) as error:  # such as half a surrogate pair
        raise InvalidRecord([f"the whole {error}"]) from None
    return from_text(cls, text)


def from_text(cls: type[R], text: bytes) -> R:
    """Return the record that a JSON text holds, read as `from_json` reads documents. Raises InvalidRecord."""
    import pydantic_core

    try:
        found: R = _adapter(cast(Any, cls)).validate_json(text, strict=True)
        return found
    except pydantic_core.ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise InvalidRecord([_in_words(fault) for fault in faults]) from None


@functools.cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _in_words(fault: Mapping[str, Any]) -> str:
    place = ".".join(map(str, fault["loc"])) or "the whole"
    return f"{place} {'is missing' if fault['type'] == 'missing' else str(fault['msg']).removeprefix('Input ')}"


# ---------------------------------------------------------------- understanding


@dataclass(frozen=True)
class Utterance:
    """One line that the user typed."""

    text: str
    session: str = ""


_NO_SLOTS = frozenset({"intent", "exact", "card", "size_billions", "more"})  # fields of a Request that are no slots


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for, as far as it was said; None for what was left open. One field a slot of the design.
    `intent` says what is to be done, `exact` that a command line or a program said so, and no rule read a sentence.
    `card` is the graphics card that a sentence names, `size_billions` the parameters of the model that it means.

    Memory is in GiB (`memory_gb`, `ram_gb`), a file's greatest size in GB (`target_size_gb`); `type` may name several
    with commas between, and a mix's size ("auto@4.2GB"); `bits` may be a fraction, for a mix.
    """

    intent: str = ""
    exact: bool = False
    card: str | None = None
    size_billions: float | None = None
    # what is made, and how
    model: str | None = None
    method: str | None = None
    type: str | None = None
    bits: float | None = None
    target_size_gb: float | None = None
    format: str | None = None
    purpose: str | None = None
    priority: Literal["quality", "speed", "size"] | None = None
    imatrix: bool | None = None
    calibration: str | None = None
    keep: tuple[str, ...] | None = None
    parameters: Mapping[str, str] | None = None
    adapter: str | None = None
    discard_source: bool | None = None
    keep_16bit: bool | None = None
    allow_remote_code: bool | None = None
    # where and how it runs
    device: Literal["cpu", "gpu"] | None = None
    memory_gb: float | None = None
    ram_gb: float | None = None
    context: int | None = None
    kv_type: str | None = None
    parallel: int | None = None
    cpu_fallback: bool | None = None
    # how it is measured
    test: Literal["none", "quick", "comprehensive"] | None = None
    gate: bool | None = None
    base: str | None = None
    served: str | None = None  # the model's name behind an address
    tasks: str | None = None
    prompts: str | None = None
    # which artifacts and records are meant
    name: str | None = None
    names: tuple[str, ...] | None = None
    status: Literal["ok", "failed"] | None = None
    limit: int | None = None
    deleted: bool | None = None
    job: str | None = None
    predictions: bool | None = None
    # what is written, checked or removed
    out: str | None = None
    to: str | None = None  # a repository of the Hub
    private: bool | None = None
    force: bool | None = None
    prose: bool | None = None
    project: bool | None = None
    layers: bool | None = None
    keep_rebuilt: bool | None = None
    quick: bool | None = None
    sign: str | None = None
    new_key: bool | None = None
    # answers, settings, providers and the machine
    topic: str | None = None
    text: str | None = None
    lines: tuple[str, ...] | None = None
    llm: bool | None = None
    action: str | None = None
    key: str | None = None
    value: str | None = None
    provider: str | None = None
    provider_model: str | None = None
    artifact: str | None = None
    shell: str | None = None
    fix: bool | None = None
    online: bool | None = None
    calibrate: bool | None = None
    # answers to a plan's questions
    fit: str | None = None
    start: bool | None = None
    more: Mapping[str, Any] = field(default_factory=dict)  # of commands that other packages bring

    @classmethod
    def of(cls, slots: Mapping[str, Any], intent: str = "", *, exact: bool = False) -> Request:
        """Return the request that `slots` spells; lists become tuples, names that are no field lie in `more`."""
        known = {f.name for f in dataclasses.fields(cls)} - _NO_SLOTS
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in slots.items()
        }
        if isinstance(values.get("type"), tuple):
            values["type"] = ",".join(values["type"])
        said = {name: value for name, value in values.items() if name in known}
        more = {name: value for name, value in values.items() if name not in known}
        return cls(intent=intent, exact=exact, more=more, **said)

    def slots(self) -> dict[str, Any]:
        """Return what was said, by name, without what was left open."""
        names = (f.name for f in dataclasses.fields(self) if f.name not in _NO_SLOTS)
        values = ((name, getattr(self, name)) for name in names)
        return {name: value for name, value in values if value is not None}


TYPED = "typed as a command"  # the reason of a decision that no rule made


@dataclass(frozen=True)
class Decision:
    """The meaning of a line: an intent with its slots. `slots` holds only values that were said, now or earlier in the
    dialogue.

    `confidence` is 0..1; `reason` says which rule read the line so; `conflicts` names contradictions ("8-bit Q4_K_M")
    that the planner must ask about. `card` and `size_billions` are what a question of what fits names in passing: a
    graphics card, and the parameters of a model that has no name.
    """

    intent: str
    slots: Mapping[str, Any] = field(default_factory=dict)
    confidence: float = 1.0
    reason: str = ""
    conflicts: tuple[str, ...] = ()
    card: str | None = None
    size_billions: float | None = None

    @property
    def request(self) -> Request:
        """What is asked for, typed."""
        said = Request.of(self.slots, self.intent, exact=self.reason == TYPED)
        return dataclasses.replace(said, card=self.card, size_billions=self.size_billions)


@dataclass(frozen=True)
class Option:
    """One answer to a question. `value` is what the slot becomes."""

    value: Any
    label: str


@dataclass(frozen=True)
class Question:
    """A question that only the user can answer. `id` is the slot (or topic) that the answer fills.

    `kind`: "plan" (--yes takes the default), "confirm" (a typed yes, or --force), "secret" (masked input). `reason` is
    what "why?" prints. Empty `options` means free text.
    """

    id: str
    text: str
    options: tuple[Option, ...] = ()
    default: Any = None
    reason: str = ""
    kind: Literal["plan", "confirm", "secret"] = "plan"


def yes_or_no(id: str, text: str, reason: str, *, yes: str = "yes", no: str = "no") -> Question:
    """Return the question before something that cannot be taken back; without an answer it is a no."""
    return Question(id, text, (Option(True, yes), Option(False, no)), default=False, reason=reason, kind="confirm")


# ---------------------------------------------------------------- machine and model


@dataclass(frozen=True)
class Gpu:
    name: str
    memory_total_bytes: int
    memory_free_bytes: int


@dataclass(frozen=True)
class Hardware:
    """The processor, memory and GPUs of this machine, as `hardware.detect()` reads them."""

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
    """The metadata of a model, known without its weights.

    `files` are those that a quantization needs. `weights_bytes` is the size of the weights in them, `dtype` their most
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
        """Return the tokens that the cache holds, of all chats together."""
        return self.context * self.parallel

    @property
    def cache(self) -> str:
        """Return the type of the cache: "q8_0", or the types of keys and of values: "q8_0/q4_0"."""
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
        """Return the id that names this candidate in a list: "gguf:Q4_K_M:8192:q8_0/q8_0:33:512"."""
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
    load: float = 0.0  # other programs that wanted a processor when this was estimated, for each one

    @property
    def seconds_now(self) -> float | None:
        """Return the seconds that it takes beside those programs, which get their share of the processors."""
        return None if self.seconds is None else self.seconds * (1 + self.load)

    def with_download(self, download_bytes: int, kept_bytes: int | None = None) -> Estimate:
        """Return this estimate with `download_bytes` still to be fetched. The downloaded files stay on the disk, or at
        most `kept_bytes` of them at once where that is given."""
        before = self.download_bytes if self.kept_bytes is None else self.kept_bytes
        after = download_bytes if kept_bytes is None else min(kept_bytes, download_bytes)
        peak = self.disk_peak_bytes - before + after
        kept = None if kept_bytes is None else after
        return dataclasses.replace(self, download_bytes=download_bytes, kept_bytes=kept, disk_peak_bytes=peak)


@dataclass(frozen=True)
class QuantType:
    """A type that a backend can write. `bits_per_weight` is the nominal size of its main tensors. A type that is not
    `general` is offered only on request: it is for models trained for it, or its quality as LQMF makes it is not
    known."""

    name: str
    bits: int
    bits_per_weight: float
    needs_imatrix: bool = False
    summary: str = ""
    general: bool = True


@dataclass(frozen=True)
class QuantizationPlan:
    """A decision made complete: everything that an executor needs, each field with its reason in `choices`."""

    id: str
    model: ModelRef
    commit: str | None
    method: str  # a backend's name
    bits: int
    type: str  # llama.cpp's spelling for gguf ("Q4_K_M"), nf4/fp4/int8 for bnb, "" for gptq
    format: str  # "gguf", "safetensors", or what the method declares
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
    misfit: str = ""  # what else stands where the type's blocks do not fit the model's rows, and which types would fit
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
    """The advice of a provider's model on a plan, as far as it passed the check.

    `slots` are values for slots that the user left open; empty where the advice agrees with the plan or was left out.
    `dropped` says which parts of the answer were left out, and why.
    """

    provider: str
    model: str
    slots: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    notes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suggestion:
    """A model that a provider named for a user's description. `state`: the Hub knows it, has it behind a licence, or
    could not be asked; `parameters` and `license` are the Hub's."""

    id: str
    reason: str
    state: Literal["verified", "gated", "unverified"]
    parameters: int | None = None
    license: str | None = None


# ---------------------------------------------------------------- job


@dataclass(frozen=True)
class Task:
    """One task of a worker: `kind` names a module in `lqmf/jobs/tasks/`, `params` is plain JSON."""

    job: str
    kind: str
    params: Mapping[str, Any]
    log: str  # path that takes the libraries' chatter


@dataclass(frozen=True)
class Job:
    """One job as the store knows it. `stage` is the stage that it is in, or in which it ended; `later_plans` are those
    of a list of types that come after it; `artifact` is what it made, or what it makes again or measures."""

    id: str
    kind: str
    title: str
    status: Status
    plan: Mapping[str, Any] = field(default_factory=dict)
    later_plans: tuple[Mapping[str, Any], ...] = ()
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
    size_bytes: SizeBytes
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
    source_size_bytes: SizeBytes
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
class Base:
    """The model that an artifact is compared with: `path` is what the artifact's engine can run of it (a GGUF, or the
    model's own folder; None: `reason` says why not), `source` the model's own folder where that is on this machine,
    `name` what a person calls it. `said`: the user named it, so that a model of another kind is refused."""

    path: Path | None = None
    reason: str | None = None
    source: Path | None = None
    name: str = ""
    said: bool = False


def _open(form: type[T]) -> type[T]:
    """Let `form` hold more keys than it names: its figures are many, and a newer version adds some."""
    form.__pydantic_config__ = {"extra": "allow"}  # type: ignore[attr-defined]
    return form


@_open
class BaseFigures(TypedDict, total=False):
    """A receipt's `base`: the same figures of the source."""

    perplexity: float | None
    standard_error: float | None
    engine: str | None
    model: str | None  # its name


@_open
class Ratio(TypedDict):
    """An artifact's perplexity over its source's, paired by window."""

    value: float
    standard_error: float


@_open
class RightToken(TypedDict):
    """The change of the probability of the text's own next token, 0..1: artifact minus source."""

    mean_change: float
    rms_change: float
    standard_error: NotRequired[float | None]


@_open
class EmbeddingCosine(TypedDict):
    mean: float
    min: float
    between_texts: NotRequired[float | None]  # None for a single text


@_open
class TokenCosine(TypedDict):
    mean: float
    p1: float
    min: float


@_open
class Similarity(TypedDict):
    """The cosine similarities of an encoder's states to its source's."""

    embedding_cosine: EmbeddingCosine
    token_cosine: TokenCosine
    texts: int


@_open
class SequenceLoss(TypedDict):
    """The loss of an encoder-decoder on known answers, nats a token."""

    artifact: float
    source: NotRequired[float | None]
    change: NotRequired[float | None]
    standard_error: NotRequired[float | None]


@_open
class DomainFigures(TypedDict, total=False):
    """The receipt's figures on one kind of text."""

    base: BaseFigures | None
    perplexity: float | None
    kl_divergence: Mapping[str, float | None] | None
    top1_agreement: float | None
    text: Mapping[str, str] | None
    reason: str | None


@_open
class Compared(TypedDict):
    """A prediction beside its measurement, both in the quantity's unit; `error` is measured / predicted - 1, rounded
    to four digits."""

    predicted: float
    measured: float
    error: float
    missed: bool


@_open
class FirstLogits(TypedDict):
    """What a model expects after one sentence, for `verify`."""

    tokens: Sequence[int]
    top: Sequence[tuple[int, float]]  # the most likely next tokens with their log-probabilities


class GateLimits(TypedDict, total=False):
    """A gate's bounds: the greatest mean KL divergence in nats a token, the least agreement, 0..1."""

    kl_mean: float
    top1: float


@_open
class Gate(TypedDict):
    """Whether an artifact is good enough; `passed` is None where that is not known."""

    passed: bool | None
    reasons: NotRequired[Sequence[str]]
    limits: NotRequired[GateLimits | None]


@_open
class SampleAnswer(TypedDict, total=False):
    prompt: str
    response: str
    tokens: int
    ended: bool


@dataclass(frozen=True)
class Measurement:
    """One measurement of an artifact against its base, and the job that it belongs to. `manifest` is the artifact's
    (None: LQMF did not make it). `predicted` is what its plan expects of it on this machine, `making` what was measured
    while it was made, both by the names of `lqmf.fit.predictions`; `job_seconds` is how long making it took."""

    job: str
    log: str  # path that takes the libraries' chatter
    artifact: Artifact
    base: Base
    depth: str  # "quick" or "comprehensive"
    manifest: Manifest | None = None
    device: str = "auto"
    job_seconds: float = 0.0
    predicted: Mapping[str, float] = field(default_factory=dict)
    making: Mapping[str, float] = field(default_factory=dict)
    architecture: str | None = None


@dataclass(frozen=True)
class Receipt:
    """`receipt.json`: how good an artifact is. Field names and units are the design's; None was not measured,
    and `reasons` then says why, by field name."""

    base: BaseFigures | None = None
    perplexity: float | None = None
    perplexity_standard_error: float | None = None
    perplexity_ratio: Ratio | None = None
    right_token: RightToken | None = None
    kl_divergence: Divergence | None = None
    top1_agreement: float | None = None
    similarity: Similarity | None = None
    sequence_loss: SequenceLoss | None = None
    tokens_evaluated: int = 0
    window_tokens: int = 0
    text: Mapping[str, str] | None = None  # {"name", "sha256"}
    domains: Mapping[str, DomainFigures] = field(default_factory=dict)  # by the name of the text: "prose"
    conversion: Mapping[str, Any] | None = None  # the 16-bit GGUF against the model as transformers runs it:
    # {"kl_divergence", "top1_agreement", "largest_logit_error", "noise_floor", "limit_nats", ..}
    checks: tuple[Check, ...] = ()
    first_logits: FirstLogits | None = None
    prediction: Mapping[str, Compared] = field(default_factory=dict)
    latency_seconds: Mapping[str, float | None] | None = None  # {"first_token", "per_response"}
    tokens_per_second: Mapping[str, float | None] | None = None  # {"prompt", "generation"}
    peak_memory_bytes: Mapping[str, int | None] | None = None  # {"rss", "gpu"}
    load_seconds: float | None = None
    bits_per_weight: float | None = None
    size_bytes: int | None = None
    gate: Gate | None = None
    measured_on: Mapping[str, str | None] | None = None  # {"cpu", "gpu", "engine"}
    samples: tuple[SampleAnswer, ...] = ()
    utilization: Mapping[str, float | None] | None = None  # {"cpu", "gpu"}, percent
    load: Mapping[str, float] | None = None  # {"before", "after"}: other programs that wanted a processor, for each one
    figures: Mapping[str, float] = field(default_factory=dict)  # by id, of measures that have no field of their own
    reasons: Mapping[str, str] = field(default_factory=dict)


def readable(receipt: Any) -> Mapping[str, Any]:
    """Return a receipt's document as it is; for a document that is not in the form of a Receipt, return that of an
    empty receipt, whose reason says so."""
    try:
        from_json(Receipt, receipt)
    except InvalidRecord as error:
        return unreadable(str(error))
    known: Mapping[str, Any] = receipt
    return known


def unreadable(why: str) -> Mapping[str, Any]:
    """Return the document of an empty receipt, whose reason says `why` the real one cannot be read."""
    empty: Mapping[str, Any] = to_json(Receipt(reasons={"*": f"{UNREADABLE}: {why}"}))
    return empty


# ---------------------------------------------------------------- what is said at the end


@dataclass(frozen=True)
class Proposal:
    """The job that may be done next: `text` says what it would bring, `decision` is the meaning of a yes to it."""

    text: str
    decision: Decision


@dataclass(frozen=True)
class Feedback:
    """The sentences at the end of a job, and the proposal of what may be made next."""

    sentences: tuple[str, ...] = ()
    proposal: Proposal | None = None
