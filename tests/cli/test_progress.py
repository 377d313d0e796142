"""What a job's progress says: time passed and left at every bar, a cross where a stage failed, and signs of life."""

from __future__ import annotations

import io
import time

from rich.console import Console

from lqmf import events
from lqmf.cli.progress import ProgressView, times


def seen(*told: events.Event, pause: float = 0.0) -> str:
    """A terminal on which these events were shown, one after another."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    view = ProgressView(lambda: console, console.print, live=True)
    for event in told:
        view(event)
        time.sleep(pause)
    view.stop()
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_bar_says_the_time_that_passed_and_the_time_that_is_left() -> None:
    assert times(12.9, 30.2) == "0:12, 0:30 left"
    assert times(3725, None) == "1:02:05"
    progress = [events.Progress(stage="test", done=n, total=9, unit="windows") for n in range(1, 4)]
    told = seen(events.StageStarted(stage="test"), *progress, pause=0.3)
    assert "3 of 9 windows" in told
    assert " left" in told


def test_what_is_waited_for_stands_in_the_bar_before_anything_is_counted() -> None:
    waiting = events.Progress(stage="quantize", done=0, unit="bytes", note="starting the converter")
    assert "starting the converter" in seen(events.StageStarted(stage="quantize"), waiting, pause=0.2)


def test_a_failed_stage_ends_in_a_cross_and_one_that_succeeded_in_a_tick() -> None:
    started = events.StageStarted(stage="test")
    assert "✗ Measuring" in seen(started, events.StageFinished(stage="test", seconds=3, ok=False))
    assert "✓ Measuring" in seen(started, events.StageFinished(stage="test", seconds=3))


def test_the_hub_is_asked_with_a_bar_at_once_and_leaves_no_line_where_it_was_quick() -> None:
    asked = events.StageStarted(stage="ask", title="Asking the Hub about org/name")
    assert "Asking the Hub about org/name" in seen(asked)
    assert "✓" not in seen(asked, events.StageFinished(stage="ask", seconds=0.2))
    assert "✗ Asking" in seen(asked, events.StageFinished(stage="ask", seconds=0.2, ok=False))


def test_the_bars_of_an_attempt_that_failed_go_with_it() -> None:
    failed = events.AttemptFailed(attempt=1, error={"message": "It was killed."}, retry_in_seconds=1)
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    view = ProgressView(lambda: console, console.print, live=True)
    view(events.StageStarted(stage="quantize"))
    view(failed)
    assert view._tasks == {}
