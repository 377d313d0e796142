"""Makes the report from end to end: artifacts in, one HTML page out. Measures nothing and writes no file."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lqmf.records import Artifact, Hardware
from lqmf.report import overview
from lqmf.report.charts import answers, domains, history, layers, memory, predictions, size, speed
from lqmf.report.page import Page, render
from lqmf.report.parts import Section
from lqmf.report.subjects import Data, subjects
from lqmf.version import VERSION


def report(
    artifacts: Sequence[Artifact], benchmarks: Path, earlier: Sequence[Mapping[str, Any]], hardware: Hardware
) -> str:
    """Return the HTML page on `artifacts`. `benchmarks` is the folder of their files, `earlier` the store's records of
    artifacts, deleted ones included, `hardware` this machine. Raises LqmfError where plotly is not installed."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return render(page(Data(subjects(artifacts, benchmarks), earlier, hardware, now, VERSION)))


def page(data: Data) -> Page:
    """Return the contents of the page."""
    return Page(
        title=_title(data),
        created_at=data.created_at,
        version=data.version,
        figures=overview.figures(data),
        overview=overview.table(data),
        sections=sections(data),
        grounds=overview.grounds(data),
    )


def sections(data: Data) -> list[Section]:
    """Return the sections with every chart, in the order of the page."""
    return [
        Section("size", size.TITLE, _SIZE, [size.chart(data)]),
        Section("speed", speed.TITLE, _SPEED, [speed.chart(data)]),
        Section("memory", memory.TITLE, _MEMORY, [memory.chart(data)]),
        Section("layers", layers.TITLE, _LAYERS, layers.charts(data)),
        Section("domains", domains.TITLE, _DOMAINS, [domains.chart(data)]),
        Section("answers", answers.TITLE, "The same prompts, asked of artifact and source.", [answers.chart(data)]),
        Section("history", history.TITLE, "What was made of these models, and when.", [history.chart(data)]),
        Section("predictions", predictions.TITLE, _PREDICTIONS, [predictions.chart(data)]),
    ]


_SIZE = "Which file loses least for its size: lower and further left is better."
_SPEED = "How fast an artifact writes beside what it lost: up and left is better."
_MEMORY = (
    "Bars are what each plan set aside to run with its whole context; the marks are the peak of the process that ran "
    "the test, predicted and measured, which need not fill the context. GB of memory count in powers of 1024."
)
_LAYERS = (
    "The source with one tensor alone as it is in the artifact: how far its predictions move. It is the weights' part "
    "of the loss; an engine that computes with quantized weights rounds what goes through them, too: that is in the "
    "receipt's figure and not in this one."
)
_DOMAINS = "One number hides what suffers most: the same measure on other kinds of text."
_PREDICTIONS = "What plans expected before anything was made, beside what was then measured."


def _title(data: Data) -> str:
    if len(data.subjects) == 1:
        return data.subjects[0].name
    models = data.models
    return f"{models[0]}, quantized" if len(models) == 1 else f"{len(data.subjects)} artifacts of {len(models)} models"
