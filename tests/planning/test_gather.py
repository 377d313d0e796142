"""What a fit is made from is asked for once; where the model lies, each time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lqmf.events import Event, StageFinished, StageStarted
from lqmf.fit.needs import Needs
from lqmf.planning.gather import Gatherer
from lqmf.quantization.gguf.backend import GgufBackend
from lqmf.records import ModelInfo, ModelRef
from tests.fit.shapes import MODELS, needs

INFO = ModelInfo(ModelRef("hub", "org/m"), "c" * 40, "LlamaForCausalLM", "llama", {}, (), 0)


class Counting(GgufBackend):
    """Needs that are there already, and how often they were asked for."""

    asked = 0

    def needs(self, model: ModelInfo, skeleton: Path, contexts: tuple[int, ...], parallel: int) -> Needs:
        self.asked += 1
        return needs(MODELS["gpt2"], ("Q4_K_M",), parallel=parallel)


def test_needs_are_kept_and_the_folder_is_where_the_model_lies_now(tmp_path: Path) -> None:
    """A snapshot that was deleted between two sentences is not read again."""
    places = iter([tmp_path / "snapshot", tmp_path / "skeleton", tmp_path / "skeleton"])

    async def skeleton(info: ModelInfo) -> Path:
        return next(places)

    gather, backend = Gatherer(skeleton, list, "a machine", lambda event: None), Counting()

    async def fits() -> list[Path]:
        return [(await gather(INFO, backend, context, 1)).folder.name for context in (None, None, 2048)]

    assert asyncio.run(fits()) == ["snapshot", "skeleton", "skeleton"]
    assert backend.asked == 2


def test_work_that_was_cut_short_is_not_told_as_done(tmp_path: Path) -> None:
    told: list[Event] = []

    async def skeleton(info: ModelInfo) -> Path:
        if len(told) > 2:
            return tmp_path
        raise asyncio.CancelledError

    gather = Gatherer(skeleton, list, "a machine", told.append)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(gather(INFO, Counting(), None, 1))
    asyncio.run(gather(INFO, Counting(), None, 1))
    assert [getattr(event, "ok", None) for event in told] == [None, False, None, True]
    assert [type(event) for event in told] == [StageStarted, StageFinished, StageStarted, StageFinished]
