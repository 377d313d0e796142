"""Measures how far an artifact's predictions are from its source's, on texts of several kinds, as the worker's task of
a test.

Both models are in this process, one window's logits of each in memory at a time; where both do not fit, they take turns
in blocks of windows, and the logits of one model wait in memory for those of the other. Nothing goes to the disk but
what the source predicts in a few windows, where it is wanted for the comparison with the model itself.
Windows come in a fixed order, so that a shorter run measures a beginning of what a longer run does. Knows nothing of
speed.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lqmf.engines.local import LocalEngine
from lqmf.engines.registry import open_engine
from lqmf.errors import DoesNotFit, MeasurementError, ModelError, ResourceError, UsageError
from lqmf.events import Emit, Report, stage
from lqmf.quality.receipt import exact_types, figures
from lqmf.quality.receipt.divergence import must_be_numbers
from lqmf.quality.receipt.memory_plan import pair_memory, window_bytes
from lqmf.quality.receipt.perplexity import Perplexity, blocks, log_softmax
from lqmf.quality.receipt.schedule import Step, Window
from lqmf.quality.receipt.session import Session
from lqmf.records import Task
from lqmf.texts.evaluation import MAIN, Reading
from lqmf.texts.windows import first_scored, targets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOW_TOKENS = 512
_AT_ONCE_BYTES = 32 << 20  # of logits of one model: both read as many windows before these are compared, as threads
# that wait for one another (llama.cpp's) slow others for a moment
NOISE_WINDOWS = 4  # that show what a source in fewer than 16 bits loses itself
Side = Literal["base", "artifact"]


@dataclass(frozen=True)
class _Wish:
    """The parameters of `run`."""

    artifact: Path
    base: Path | None
    base_reason: str
    reference: Path | None
    texts: dict[str, Path]
    window_tokens: int
    max_windows: int | None
    budget_seconds: float | None
    device: str
    in_turns: bool | None
    memory_bytes: int | None
    stop_at: Mapping[str, float] | None
    keep: Mapping[str, Any] | None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> _Wish:
        others = {name: Path(path) for name, path in (params.get("domains") or {}).items()}
        return cls(
            Path(params["artifact"]),
            Path(params["base"]) if params.get("base") else None,
            params.get("base_reason") or "there is no source to compare with",
            Path(params["reference"]) if params.get("reference") else None,
            {MAIN: Path(params["text"]), **others},
            params.get("window_tokens") or WINDOW_TOKENS,
            params.get("max_windows"),
            params.get("budget_seconds"),
            params.get("device") or "auto",
            params.get("in_turns"),
            params.get("memory_bytes"),
            params.get("stop_at"),
            params.get("keep"),
        )

    def open(self, path: Path) -> LocalEngine:
        return open_engine(path, device=self.device)

    def session(self, reading: Reading, context_length: int, report: Report) -> Session:
        return Session(
            self.texts,
            reading,
            min(self.window_tokens, context_length),
            report,
            most=self.max_windows,
            seconds=self.budget_seconds,
            stop_at=self.stop_at,
            keep=self.keep,
        )


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Measure an artifact's predictions against its source's.

    `params`: {"artifact": path, "base": path or None, "base_reason": why None, "reference": path of the source in 16
    bits, where `base` has fewer, "text": path of the text that the receipt's own figures speak of, "domains": {name:
    path} of further texts, "window_tokens": 512, "max_windows": of all texts, or None, "budget_seconds": or None,
    "device": "auto"/"cpu"/"gpu", "in_turns": whether one model is to be unloaded before the other is loaded (left out:
    where both do not fit), "memory_bytes": the most that waiting logits may take then, "stop_at": the gate's limits by
    name ("kl_mean", "top1"), far from which a text needs no more windows, "keep": {"file": path where the base's logits
    are left for the task `conversion`, "windows": of the first text how many}, or None}.

    Returns the receipt's figures, `tokens_evaluated`, `window_tokens`, `text`, `domains` and `reasons`, with `windows`,
    `windows_in_text` and `seconds`. At least four windows of the text and two of each other text are measured (or all
    there are), as far as they take a quarter of a minute more than the budget; one window in any case. Raises
    MeasurementError, ModelError, OutOfMemory.
    """
    wish = _Wish.of(task.params)
    with stage(emit, "divergence", f"Reading {wish.texts[MAIN].stem}", "windows") as report:
        return _measure(wish, report)


def _measure(wish: _Wish, report: Report) -> dict[str, Any]:
    if wish.base is None:
        return _alone(wish, wish.base_reason, report)
    sizes = pair_memory(wish.base, wish.artifact, wish.device, wish.window_tokens)
    apart = not sizes.together if wish.in_turns is None else wish.in_turns
    if not apart:
        return _side_by_side(wish, wish.base, report)
    try:
        waiting = sizes.waiting_windows(wish.memory_bytes)
    except DoesNotFit as refusal:
        if wish.device != "cpu":  # a card holds less than the RAM beside it, which is slower and does for measuring
            return _measure(dataclasses.replace(wish, device="cpu"), report)
        return _alone(wish, refusal.message, report)
    return _in_turns(wish, wish.base, waiting, report)


# ---------------------------------------------------------------- ways to measure


def _side_by_side(wish: _Wish, base_path: Path, report: Report) -> dict[str, Any]:
    with wish.open(wish.artifact) as artifact, wish.open(base_path) as base:
        reading, bases = Reading.by(artifact, wish.texts), Reading.by(base, wish.texts)
        session = wish.session(bases, min(reading.context_length, bases.context_length), report)
        session.must_agree(reading, bases)
        at_once = max(1, _AT_ONCE_BYTES // window_bytes(wish.window_tokens, base.vocabulary))
        while group := list(session.schedule.steps(at_once)):
            _compare(group, base, artifact, session)
        names: dict[Side, str] = {"base": base.name, "artifact": artifact.name}
    return _compared(wish, session, names)


def _compare(group: Sequence[Step], base: LocalEngine, artifact: LocalEngine, session: Session) -> None:
    """Compare a few windows; their logits are freed afterwards."""
    read = deque((step, _base_rows(base, step, session), _scored(artifact, step.window)) for step in group)
    while read:
        session.compare(*read.popleft())
        session.schedule.advance()


def _in_turns(wish: _Wish, base_path: Path, waiting: int, report: Report) -> dict[str, Any]:
    """Measure the figures of `_side_by_side` from the same windows with one model in memory at a time; the logits of
    `waiting` windows wait for the other model. The model that compares a block of windows begins the next block, so
    that each block loads one model."""
    with _OneAtATime(wish, {"base": base_path, "artifact": wish.artifact}) as models:
        bases = Reading.by(models.use("base"), wish.texts)
        session = wish.session(bases, bases.context_length, report)
        held: deque[tuple[Step, NDArray[np.float32]]] = deque()
        side, other = _SIDES
        while not session.schedule.over:
            for step in session.schedule.steps(waiting, share=0.5):
                held.append((step, models.read(side, step, session)))
            if len(models.names) == 1:
                session.must_agree(Reading.by(models.use(other), wish.texts), bases)
            while held:
                models.compare(*held.popleft(), side, session)
            side, other = other, side
        names = models.names
    return _compared(wish, session, names)


_SIDES: tuple[Side, Side] = ("base", "artifact")


class _OneAtATime:
    """Two models, only one of them in memory; `names` are the engines of the models that have been loaded."""

    def __init__(self, wish: _Wish, paths: Mapping[Side, Path]) -> None:
        self._wish, self._paths = wish, paths
        self._side: Side | None = None
        self._stack = ExitStack()
        self._engine: LocalEngine
        self.names: dict[Side, str] = {}

    def use(self, side: Side) -> LocalEngine:
        """Return the model of this side, loaded; the other model is unloaded first."""
        if side != self._side:
            self._stack.close()
            self._engine = self._stack.enter_context(self._wish.open(self._paths[side]))
            self._side, self.names[side] = side, self._engine.name
        return self._engine

    def read(self, side: Side, step: Step, session: Session) -> NDArray[np.float32]:
        """Return the logits (N, V) of one window by the model of this side."""
        engine = self.use(side)
        rows = _base_rows(engine, step, session) if side == "base" else _scored(engine, step.window)
        session.schedule.advance(0.5)
        return rows

    def compare(self, step: Step, waiting: NDArray[np.float32], side: Side, session: Session) -> None:
        """Count a window whose logits by the model of this side have waited for those by the other model."""
        fresh = self.read("artifact" if side == "base" else "base", step, session)
        session.compare(step, *((waiting, fresh) if side == "base" else (fresh, waiting)))

    def __enter__(self) -> _OneAtATime:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _alone(wish: _Wish, reason: str, report: Report) -> dict[str, Any]:
    with wish.open(wish.artifact) as artifact:
        reading = Reading.by(artifact, wish.texts)
        session = wish.session(reading, reading.context_length, report)
        found = {name: Perplexity() for name in wish.texts}
        for step in session.schedule.steps():
            rows, words = _scored(artifact, step.window), targets(step.window)
            for part in blocks(*rows.shape):
                must_be_numbers("artifact", rows[part].max(axis=-1))
                found[step.text].add(log_softmax(rows[part]), words[part])
            session.read[step.text] += 1
            session.schedule.advance()
        measured = {name: figures.alone(found[name], reason) for name, windows in session.read.items() if windows}
        return session.told(measured, artifact.name)


def _base_rows(base: LocalEngine, step: Step, session: Session) -> NDArray[np.float32]:
    rows = _scored(base, step.window)
    if step.text == MAIN:
        session.floor.look(base, step.window, rows)
        if session.keeper is not None:
            session.keeper.look(step.window, rows)
    return rows


def _scored(engine: LocalEngine, window: Window) -> NDArray[np.float32]:
    """Return the logits (N, V) at the positions whose next token counts: those of the second half of the window but the
    last."""
    (logits,) = engine.logits([window], first=first_scored(len(window)))
    return logits[:-1]


# ---------------------------------------------------------------- the source


def _compared(wish: _Wish, session: Session, names: Mapping[Side, str]) -> dict[str, Any]:
    """Return the figures, with facts of the source: the engine that ran it, its type, and its own noise."""
    assert wish.base is not None
    measured = session.compared()
    main, kind = measured[MAIN], exact_types.kind(wish.base)
    if session.keeper is not None:
        session.keeper.finish(names["base"], session.floor.kl_nats)
    main["base"] |= {"engine": names["base"], "type": kind, "noise": _noise(wish, wish.base, kind, session)}
    if main["kl_divergence"]:
        main["kl_divergence"]["noise_floor"] = session.floor.kl_nats if names["base"] == names["artifact"] else None
        if main["kl_divergence"]["noise_floor"] is None:
            reason = f"the source ran in {names['base']} and the artifact in {names['artifact']}"
            main["reasons"] |= {"kl_divergence.noise_floor": reason}
    return session.told(measured, names["artifact"])


def _noise(wish: _Wish, base: Path, kind: str, session: Session) -> dict[str, Any] | None:
    """Return how far a source of fewer than 16 bits is from itself in 16 bits: {"kl_divergence": .. or None, "reason"};
    None where the source has 16 bits."""
    if exact_types.is_exact(kind):
        return None
    if wish.reference is None:
        return {"kl_divergence": None, "reason": f"the source ran as {kind}, and there is none in 16 bits beside it"}
    if wish.budget_seconds is not None and session.schedule.seconds > wish.budget_seconds / 2:
        return {
            "kl_divergence": None,
            "reason": f"the source ran as {kind}; a comprehensive test has time for its noise",
        }
    against = dataclasses.replace(
        wish, artifact=base, base=wish.reference, reference=None, texts={MAIN: wish.texts[MAIN]},
        max_windows=NOISE_WINDOWS, budget_seconds=None, stop_at=None, in_turns=None, keep=None,
    )  # fmt: skip
    try:
        found = _measure(against, lambda done, total, note: None)
    except (MeasurementError, ModelError, ResourceError, UsageError) as error:  # the figures stand without it
        return {"kl_divergence": None, "reason": f"the source ran as {kind}; against 16 bits: {error.message}"}
    return {"kl_divergence": found["kl_divergence"], "reason": found["reasons"].get("kl_divergence")}
