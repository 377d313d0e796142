"""The choice of a type for each tensor, so that a file of a given size loses least: `--type auto`.

The steps: a table of each tensor's errors, the divergence that a unit of error causes, a knapsack over (tensor, type),
then real divergence on the selection text, of this mix, of llama.cpp's own mixes of at most that size, and of variants
while they are better. Runs in the worker, on a base that can be run (F16 or Q8_0). Reads no text but the given one;
writes no model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from lqmf.errors import UsageError
from lqmf.events import Emit, Notice, StageFinished, StageStarted
from lqmf.ggml.base_file import BaseFile
from lqmf.model_files.imatrix_file import Imatrix
from lqmf.quantization.gguf.mix import errors_table, sensitivity
from lqmf.quantization.gguf.mix.mixes import Costs, Mix, Mixes, predicted
from lqmf.quantization.gguf.mix.patched_model import Divergences, PatchedModel
from lqmf.quantization.gguf.mix.sensitivity import Spoiler
from lqmf.quantization.gguf.mix.tensor_types import RESERVE_BYTES
from lqmf.quantization.gguf.mix.trial import Trial, refined
from lqmf.texts import windows

_STAGE = "allocate"
SMALL_MODEL = 150_000_000  # weights; up to here every tensor is spoilt alone, and more is measured
_MOST_KEPT = 1 << 27  # log-probabilities of the source in memory: 512 MiB


@dataclass(frozen=True)
class Effort:
    """The amount of measuring: at most `groups` groups of tensors are spoilt, each run over `windows` windows of
    `window_tokens` tokens; then `variants` more mixes, over `judged` windows."""

    groups: int
    windows: int
    window_tokens: int
    judged: int
    variants: int


THOROUGH = Effort(groups=400, windows=4, window_tokens=512, judged=12, variants=24)
QUICK = Effort(groups=40, windows=2, window_tokens=512, judged=4, variants=6)


@dataclass(frozen=True)
class Allocation:
    """The chosen types: `types` has every tensor that llama-quantize would change, with its ggml type ("q4_K"; the
    base's own type: not changed).

    KL in nats a token on the text for choosing, from the weights alone: `predicted_kl` by adding up over tensors,
    `measured_kl` by running the model. `gap` is the solver's, as a share of the predicted cost. `preset` names the best
    of llama.cpp's own mixes that fit, measured alike; where it won, `types` are its types. `seconds` by part.
    """

    types: Mapping[str, str]
    file_bytes: int
    predicted_kl: float
    measured_kl: float
    gap: float
    preset: str = ""
    preset_kl: float | None = None
    tried: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


def allocate(
    base: Path,
    imatrix: Imatrix | None,
    target_bytes: int,
    emit: Emit,
    *,
    keep: Mapping[str, str] | None = None,
    text: Path | None = None,
    fast: bool = False,
    reserve_bytes: int = RESERVE_BYTES,
    threads: int = 0,
    effort: Effort | None = None,
) -> Allocation:
    """Return the best types for a file of at most `target_bytes`, from the GGUF at `base`.

    `keep` has patterns of tensor names, each with the fixed type of the tensors that it names; `text` is for choosing
    (None: the built-in text); `fast` leaves out types that are slow on a CPU; `reserve_bytes` are left for keys that
    will be added to the header; `threads` 0 takes all cores. Raises UsageError for a size that no mix has, a text
    shorter than a window and a `keep` that names no tensor, ModelError for a base that cannot be run, DoesNotFit for a
    base that memory does not hold.
    """
    clock = _Clock()
    emit(StageStarted(stage=_STAGE, title="Choosing the type of each tensor"))
    with clock.part("types"):
        mixes = Mixes(BaseFile(base), imatrix, keep or {}, fast=fast, reserve_bytes=reserve_bytes)
        mixes.bounds.check(target_bytes)
    with clock.part("errors"):
        errors = errors_table.make(mixes.base, imatrix, mixes.choices, emit, threads=threads)
    effort = effort or (THOROUGH if mixes.base.header.parameters <= SMALL_MODEL else QUICK)
    with PatchedModel(base, threads=threads or None) as model:
        spoiler = Spoiler(mixes.base, imatrix, model, threads)
        with clock.part("source"):
            judge = Divergences(model, cut_windows(model, text or selection_text(), effort))
        with clock.part("sensitivity"):
            costs = _costs(mixes, errors, spoiler, judge, effort, emit)
        with clock.part("solve"):
            mix, solved = mixes.solve(costs, target_bytes)
        with clock.part("verify"):
            trial = Trial(spoiler, judge, emit)
            emit(Notice(text=f"Trying the mix of types, and up to {effort.variants} variants."))
            mix = refined(trial, mix, costs, lambda weighed: mixes.solve(weighed, target_bytes)[0], effort.variants)
            mix, preset = _against_presets(mixes, trial, mix, costs, target_bytes)
    emit(StageFinished(stage=_STAGE, seconds=sum(clock.seconds.values())))
    return Allocation(
        types=mix,
        file_bytes=mixes.file_bytes(mix),
        predicted_kl=predicted(costs, mix),
        measured_kl=trial.kl_nats(mix),
        gap=solved.gap,
        preset=preset,
        preset_kl=trial.kl_nats(mixes.presets()[preset]) if preset else None,
        tried=trial.tried,
        seconds=clock.seconds,
    )


def selection_text() -> Path:
    """Return the path of the built-in text for choosing between candidates."""
    return Path(str(resources.files("lqmf").joinpath("assets/text/selection.txt")))


# ---------------------------------------------------------------- steps


def _costs(
    mixes: Mixes, errors: errors_table.Errors, spoiler: Spoiler, judge: Divergences, effort: Effort, emit: Emit
) -> Costs:
    """Return the predicted cost of each choice, in nats a token. A tensor that the model does not use costs nothing."""
    used = spoiler.locate(list(mixes.choices))
    groups = sensitivity.grouped([name for name in used if mixes.quantized(name)], effort.groups)
    place = sensitivity.place(groups, errors, judge.source_digest, effort.windows)
    found = sensitivity.recall(place)
    if found is None:
        found = sensitivity.measure(spoiler, judge, effort.windows, groups, errors, emit)
        sensitivity.keep(place, found)
    return mixes.costs(errors, {name: found.get(name, 0.0) for name in mixes.choices})


def _against_presets(mixes: Mixes, trial: Trial, mix: Mix, costs: Costs, target_bytes: int) -> tuple[Mix, str]:
    """Return the better of `mix` and the best of llama.cpp's own mixes that fit, and the name of the latter ("": none
    fits)."""
    fitting = {name: each for name, each in mixes.presets().items() if mixes.file_bytes(each) <= target_bytes}
    if not fitting:
        return mix, ""
    best = min(fitting, key=lambda name: predicted(costs, fitting[name]))
    return (fitting[best] if trial.kl_nats(fitting[best]) < trial.kl_nats(mix) else mix), best


def cut_windows(model: PatchedModel, text: Path, effort: Effort) -> list[list[int]]:
    """Return windows of token ids from all over the text, ordered so that the first few of them are from all over it
    too. Raises UsageError for a text that cannot be read or is shorter than a window."""
    try:
        tokens = model.tokenize(text.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{text} cannot be read as text.", "Check the path.") from error
    length = min(effort.window_tokens, model.context_length)
    found = windows.cut(tokens, length, model.beginning)
    if not found:
        short = f"{text.name} has {len(tokens)} tokens, less than a window of {length}."
        raise UsageError(short, "Give a longer text.")
    most = max(
        1, min(effort.judged, len(found), _MOST_KEPT // (model.vocabulary * (length - windows.first_scored(length))))
    )
    spread = [found[place * len(found) // most] for place in range(most)]
    stride = max(1, most // effort.windows)
    return [window for start in range(stride) for window in spread[start::stride]]


class _Clock:
    """A clock that adds up the seconds of each part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started
