"""Holds one model's fit: its needs, the expected loss of its types, and the speed of this machine, ready to be solved.

Knows no agent and no command; keeps its solutions, since a dialogue asks for the same solution again and again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lqmf.fit.candidates import LossOf, PaceOf
from lqmf.fit.needs import Needs, Weights
from lqmf.fit.solver import Machine, Solution, Wish, solve
from lqmf.records import Candidate, Run, Verdict

TORCH_RAM_BYTES = 450 << 20  # Python, torch and transformers, before a weight is read (on a CPU)
PROGRAM_RAM_BYTES = 150 << 20  # Python, the libraries and this program, where no calibration has measured it

Correct = Callable[[str, str, str, float], float]  # quantity, method, device, predicted: what it turned out to be


@dataclass(frozen=True)
class Fitting:
    """The fit of one model. `needs` by method, read in `folder` (whose weights may be holes); `rss` the peak of the
    process that runs the model, in bytes."""

    needs: Mapping[str, Needs]
    folder: Path
    loss: LossOf
    pace: PaceOf
    rss: Callable[[Needs, Weights, Run], int]
    correct: Correct = lambda quantity, method, device, predicted: predicted
    program_ram: int = PROGRAM_RAM_BYTES
    offered: frozenset[str] | None = None  # types that may be chosen unasked; None: all
    _solved: dict[tuple[Machine, Wish], Solution] = field(default_factory=dict, compare=False, repr=False)
    _checked: dict[tuple[str, str], Verdict] = field(default_factory=dict, compare=False, repr=False)

    def verdict(self, method: str, type: str, check: Callable[[], Verdict]) -> Verdict:
        """Return a backend's answer on this model as `type`; the backend is asked only once."""
        if (method, type) not in self._checked:
            self._checked[method, type] = check()
        return self._checked[method, type]

    def solve(self, machine: Machine, wish: Wish) -> Solution:
        """Solve for the best ways to run the model on `machine`. Raises ValueError where `wish` has another number of
        chats than the needs."""
        key = machine, wish
        if key not in self._solved:
            needs = {name: self._among(one, wish) for name, one in self.needs.items()}
            self._solved[key] = solve(needs, machine, wish, self.loss, self.pace)
        return self._solved[key]

    def _among(self, needs: Needs, wish: Wish) -> Needs:
        """Return `needs` with only the types that were asked for or may be offered, so that a way out names no
        others."""
        if self.offered is None:
            return needs
        kept = self.offered | (wish.types or frozenset())
        return dataclasses.replace(needs, weights={name: w for name, w in needs.weights.items() if name in kept})

    def prediction(self, chosen: Candidate, *, on_gpu: bool) -> dict[str, float]:
        """Predict the results of a test of `chosen` on this machine, by the names of `lqmf.fit.predictions`, before any
        correction. Quality is measured with an f16 cache; without a GPU here everything runs on the CPU."""
        needs = self.needs[chosen.method]
        weights = needs.weights[chosen.type]
        run = chosen.run if on_gpu else dataclasses.replace(chosen.run, gpu_layers=0)
        expected = {
            "size_bytes": float(chosen.file_bytes),
            "kl_nats": self.loss(chosen.method, chosen.type, "f16", "f16").kl_nats,
        }
        if chosen.method == "gguf":  # the formula is that of llama.cpp's process
            expected["peak_rss_bytes"] = float(self.rss(needs, weights, run))
        if speed := self.pace(needs, weights, run):
            expected["prompt_tokens_per_second"] = speed.prompt
            expected["generation_tokens_per_second"] = speed.generation
        return expected

    def corrected(self, prediction: Mapping[str, float], method: str, device: str) -> dict[str, float]:
        """Return `prediction` with each value corrected by earlier measurements."""
        return {name: self.correct(name, method, device, value) for name, value in prediction.items()}
