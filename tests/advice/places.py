"""A workspace whose models are all of one shape: their metadata needs no network, and what they need no library."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lqmf.app import App
from lqmf.events import Event, Notice
from lqmf.fit.needs import Needs
from lqmf.model_files.gguf_types import TYPES
from lqmf.model_files.refs import DEMO_FOLDER, parse_ref
from lqmf.planning.gather import Gatherer
from lqmf.quantization.promise import Backend
from lqmf.records import Hardware, ModelInfo, ModelRef
from lqmf.understanding.models import canonical
from tests.advice.wishes import CARD, SHAPE, model
from tests.fit.shapes import Model, needs


class Shaped(Gatherer):
    """Everybody needs what a model of `shape` needs."""

    shape = SHAPE

    async def _look(
        self, info: ModelInfo, backend: Backend, contexts: tuple[int, ...], parallel: int
    ) -> tuple[Path, Needs]:
        return DEMO_FOLDER, needs(self.shape, tuple(TYPES), parallel=parallel)


def place(root: Path, options: Mapping[str, Any] | None = None, hardware: Hardware = CARD, shape: Model = SHAPE) -> App:
    """An App there with these settings. Its Hub knows every name."""
    app = App(root, "given", options or {})

    async def inspect(ref: ModelRef) -> ModelInfo:
        return model(ref, context_length=shape.trained)

    async def skeleton(info: ModelInfo) -> Path:
        return DEMO_FOLDER

    app.models = dataclasses.replace(
        app.models,
        resolve=lambda text: parse_ref(text, canonical=canonical),
        inspect=inspect,
        missing=lambda info: info.weights_bytes,
        present=lambda info: None,
    )
    app._gatherer = Shaped(skeleton, app.history, "a processor", app.bus.publish)
    app._gatherer.shape = shape
    gguf = {"gguf": app.backends()["gguf"]}
    app.backends = lambda: gguf  # type: ignore[method-assign]
    app.hardware = lambda: hardware  # type: ignore[method-assign]
    return app


def notices(app: App) -> list[str]:
    """What people are told from now on, in passing."""
    told: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Notice):
            told.append(event.text)

    app.bus.subscribe(hear)
    return told
