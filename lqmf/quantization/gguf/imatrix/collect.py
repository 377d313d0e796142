"""The importance matrix of a model: collected once from a calibration text, kept, and handed out as a file.

Knows texts, windows, when to stop, and the cache. `activations` knows the inputs of the model's weights, `imatrix_file`
the file format. Worker only.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lqmf import workspace
from lqmf.errors import UsageError, of_system
from lqmf.events import Emit, Notice, Progress, StageFinished, StageStarted
from lqmf.ggml import library
from lqmf.model_files import imatrix_file
from lqmf.model_files.gguf_header import read_header, shards
from lqmf.model_files.imatrix_file import Entry, Imatrix
from lqmf.quantization.gguf.imatrix.activations import Watched
from lqmf.quantization.gguf.imatrix.convergence import Halves
from lqmf.texts import calibration as calibration_text
from lqmf.texts.calibration_text import HUB, WINDOW_TOKENS, CalibrationText

__all__ = ["Collected", "Imatrix", "Settings", "collect", "importance_matrix", "shapes"]

_VERSION = 1  # of what is collected and how; a new one makes every kept matrix unknown
_STAGE = "calibrate"
_EVERY = 4  # windows between two looks at the error: both halves then have the same number


@dataclass(frozen=True)
class Settings:
    """The amount of text to read: at least `least` windows of `tokens` tokens, then until the estimated error (see
    `Halves.error`) is at most `tolerance`, and never more than `most`. `output` includes an untied output head.

    On the demo model the KL of Q4_K_M, Q3_K_M and IQ3_S shows no trend from 8 to 160 windows; the estimated error falls
    from 0.054 to 0.022 at 24. The defaults are on the safe side of that.
    """

    tokens: int = WINDOW_TOKENS
    least: int = 24
    most: int = 160
    tolerance: float = 0.03
    output: bool = False


@dataclass(frozen=True)
class Collected:
    """An importance matrix, the windows and tokens that were read for it, and its `error`, as `Halves.error` estimates
    it."""

    imatrix: Imatrix
    windows: int
    tokens: int
    error: float
    converged: bool


def importance_matrix(
    base: Path | None,
    identity: str,
    calibration: str | None,
    emit: Emit,
    *,
    settings: Settings | None = None,
    threads: int = 0,
) -> tuple[Path, Imatrix, dict[str, Any]]:
    """Return the importance matrix of the model in `base` (a GGUF that runs): its file, its values, and facts for a
    manifest.

    `identity` names the model's weights, so that the matrix is found again. `calibration` is None (the built-in texts),
    a text's path, a dataset, `hub:org/name`, or an importance matrix's path: only then may `base` be None, and the
    caller has to check the matrix. Raises UsageError for a calibration that cannot be used, or that is another model's
    matrix; also as `collect` does, and the Hub's errors.
    """
    settings = settings or Settings()
    given = Path(calibration).expanduser() if calibration and not calibration.startswith(HUB) else None
    if given is not None and imatrix_file.is_imatrix(given):
        return _given(given, base)
    text = calibration_text.read(calibration)
    kept, told = _place(identity, text, settings), {"settings": asdict(settings)}
    if (found := _kept(kept)) is not None:
        emit(Notice(text=f"The importance matrix from {text.name} is known already."))
        return kept, found[0], found[1] | told
    assert base is not None, "collecting needs a model that runs"
    with Watched(base, threads=threads, output=settings.output) as model:
        tokens = min(settings.tokens, model.context_length)
        windows = calibration_text.windows(text, model, tokens, settings.most)
        made = collect(model, windows, emit, settings=settings, dataset=text.name)
    facts = {"text": text.name, "text_sha256": text.sha256, **_facts_of(made)}
    return kept, made.imatrix, _keep(kept, made.imatrix, facts) | told


def collect(
    model: Watched | Path,
    windows: Sequence[Sequence[int]],
    emit: Emit,
    *,
    settings: Settings | None = None,
    dataset: str = "",
    threads: int = 0,
) -> Collected:
    """Run `windows` of token ids through the model until its importance matrix has settled, and return the matrix.

    Raises UsageError without a window, ModelError, OutOfMemory.
    """
    settings = settings or Settings()
    if isinstance(model, Path):
        with Watched(model, threads=threads, output=settings.output) as opened:
            return collect(opened, windows, emit, settings=settings, dataset=dataset)
    if not windows:
        raise UsageError("There is no whole window to calibrate on.", "Give a longer calibration text.")
    started, halves, most = time.monotonic(), Halves(), min(settings.most, len(windows))
    emit(StageStarted(stage=_STAGE, title="Collecting the importance matrix"))
    for window in windows[:most]:
        halves.add(model.squares(window))
        due = halves.windows % _EVERY == 0
        error = halves.error() if due else 1.0
        note = f"error {error:.3f}" if due else ""
        emit(Progress(stage=_STAGE, done=halves.windows, total=most, unit="windows", note=note))
        if halves.windows >= settings.least and error <= settings.tolerance:
            break
    made = _collected(halves, windows, settings, dataset)
    emit(Notice(text=_told(made, settings)))
    emit(StageFinished(stage=_STAGE, seconds=time.monotonic() - started))
    return made


def shapes(base: Path) -> dict[str, tuple[int, ...]]:
    """Return each tensor's shape in all files of the model at `base`, row length first, as `imatrix_file.check` takes
    them."""
    return {tensor.name: tensor.shape for shard in shards(base) for tensor in read_header(shard).tensors}


# ---------------------------------------------------------------- collecting


def _collected(halves: Halves, windows: Sequence[Sequence[int]], settings: Settings, dataset: str) -> Collected:
    import numpy as np

    entries: dict[str, Entry] = {}
    for names, (sums, counts) in halves.total().items():
        for name in names:
            old = entries.get(name)
            entries[name] = Entry(old.sums + sums, old.counts + counts) if old else Entry(sums, np.asarray(counts))
    read, error = halves.windows, halves.error()
    imatrix = Imatrix(entries, (dataset,) if dataset else (), read, len(windows[0]))
    return Collected(imatrix, read, sum(map(len, windows[:read])), error, error <= settings.tolerance)


def _told(made: Collected, settings: Settings) -> str:
    what = f"The importance matrix was collected from {made.windows} windows, {made.tokens} tokens"
    if made.converged:
        return f"{what}; it has settled (estimated error {made.error:.3f}, at most {settings.tolerance} was asked)."
    return f"{what}; more text would still change it (estimated error {made.error:.3f})."


def _facts_of(made: Collected) -> dict[str, Any]:
    error = round(made.error, 5)
    return {"windows": made.windows, "tokens": made.tokens, "error": error, "converged": made.converged}


def _given(path: Path, base: Path | None) -> tuple[Path, Imatrix, dict[str, Any]]:
    imatrix = imatrix_file.read(path)
    if base is not None:
        imatrix_file.check(imatrix, shapes(base))
    facts = {
        "text": ", ".join(imatrix.datasets) or None,
        "text_sha256": None,
        "windows": imatrix.chunks or None,
        "tokens": imatrix.chunks * imatrix.chunk_tokens or None,
        "error": None,
        "converged": None,
        "settings": None,
    }
    return path, imatrix, facts | {"imatrix_sha256": workspace.sha256(path)}


# ---------------------------------------------------------------- the cache


def _place(identity: str, text: CalibrationText, settings: Settings) -> Path:
    known = [_VERSION, library.installed_version(), identity, text.name, text.sha256, asdict(settings)]
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
    return workspace.measured_dir() / "imatrix" / f"{key}.gguf"


def _kept(path: Path) -> tuple[Imatrix, dict[str, Any]] | None:
    """Return the matrix that was kept at `path`, and its facts; None when it is not there, or not whole."""
    try:
        facts = workspace.kept_json(path.with_suffix(".json"))
        return (imatrix_file.read(path), facts) if facts["imatrix_sha256"] == workspace.sha256(path) else None
    except (OSError, KeyError, UsageError):
        return None


def _keep(path: Path, imatrix: Imatrix, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the matrix, then its facts with its hash: only both together count."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        imatrix_file.write(imatrix, path)
        whole = {**facts, "imatrix_sha256": workspace.sha256(path)}
        workspace.keep_json(path.with_suffix(".json"), whole)
    except OSError as error:
        raise of_system(error) from error
    return whole
