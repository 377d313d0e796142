"""Gathers the parts of a fit: a model's skeleton, its needs, the machine's calibration, the corrections from past jobs.

Starts the slow work (metadata from the Hub, llama.cpp's arithmetic in a child process) and keeps the needs for as long
as the program runs. Knows no plan.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lqmf.errors import UnsupportedModel
from lqmf.events import Emit, stage
from lqmf.fit import calibration, classes, corrections, quality, speed
from lqmf.fit.classes import SizeClass
from lqmf.fit.fitting import PROGRAM_RAM_BYTES, TORCH_RAM_BYTES, Fitting
from lqmf.fit.needs import Needs, Weights
from lqmf.quantization.promise import Backend
from lqmf.records import Loss, ModelInfo, Run, Speed, to_json

Skeleton = Callable[[ModelInfo], Awaitable[Path]]
History = Callable[[], Sequence[Mapping[str, Any]]]  # what was predicted and measured before, newest first


class Gatherer:
    """The maker of fits. `skeleton` returns a model's folder without its weights; `machine` is this machine's name in
    `history`."""

    def __init__(self, skeleton: Skeleton, history: History, machine: str, emit: Emit) -> None:
        self._skeleton = skeleton
        self._history = history
        self._machine = machine
        self._emit = emit
        self._found: dict[str, Needs] = {}

    async def __call__(self, info: ModelInfo, backend: Backend, context: int | None, parallel: int) -> Fitting:
        """The fit of `info` by `backend`, exact at `context` tokens for each of `parallel` chats. Raises LqmfError."""
        key = json.dumps([to_json(info), backend.name, context, parallel])
        if key in self._found:
            folder = await self._skeleton(info)  # again: the folder of before may have been deleted since
        else:
            folder, self._found[key] = await self._look(info, backend, (context,) if context else (), parallel)
        return self._fitting(backend, folder, self._found[key], model=info.ref.id, parameters=info.parameters)

    async def _look(
        self, info: ModelInfo, backend: Backend, contexts: tuple[int, ...], parallel: int
    ) -> tuple[Path, Needs]:
        with stage(self._emit, "fit", "", "steps"):
            folder = await self._skeleton(info)
            needs = await asyncio.to_thread(backend.needs, info, folder, contexts, parallel)
            if not needs.samples or not needs.weights:
                raise UnsupportedModel(" ".join(needs.refusals) or "It cannot be run.", "Choose another model.")
        return folder, needs

    def general(
        self, backend: Backend, context: int | None, parallel: int, asked: SizeClass | None = None
    ) -> dict[SizeClass, Fitting]:
        """Return the fit of each size of model, by formula: the sizes to choose from when no model is named, and the
        size that was `asked` for."""
        contexts = (context,) if context else ()
        types = [t.name for t in backend.types.values() if t.general and t.bits <= 8]
        sizes = classes.with_size(asked)
        made = {size: classes.needs(size, types, contexts, parallel) for size in sizes}
        return {size: self._fitting(backend, Path(), needs, model=size.name) for size, needs in made.items()}

    def _fitting(
        self, backend: Backend, folder: Path, needs: Needs, *, model: str, parameters: int | None = None
    ) -> Fitting:
        rows = self._history()
        measured = corrections.measured_losses(rows, model)
        learnt = corrections.fit(rows)
        known = calibration.load()

        def loss(method: str, type: str, k_type: str, v_type: str) -> Loss:
            return quality.expected_loss(type, k_type, v_type, parameters=parameters, measured=measured)

        def correct(quantity: str, method: str, device: str, predicted: float) -> float:
            return learnt.apply(quantity, predicted, machine=self._machine, device=device, method=method)

        def pace(needs: Needs, weights: Weights, run: Run) -> Speed | None:
            return speed.pace(known, needs, weights, run) if known else None

        def rss(needs: Needs, weights: Weights, run: Run) -> int:
            return speed.peak_rss(known, needs, weights, run)

        native = known.base_rss_bytes if known else PROGRAM_RAM_BYTES
        program = native if backend.output_format == "gguf" else TORCH_RAM_BYTES
        offered = frozenset(t.name for t in backend.types.values() if t.general)
        return Fitting({needs.method: needs}, folder, loss, pace, rss, correct, program, offered)
