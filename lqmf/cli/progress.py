"""How a job's progress looks: a bar for each stage with size, speed and time left; without a terminal, a line.

Knows the events and rich's progress display; knows nothing of what the stages do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lqmf import events
from lqmf.units import duration, file_size

if TYPE_CHECKING:
    from rich.console import Console, ConsoleRenderable, RichCast
    from rich.progress import Progress as Bars
    from rich.progress import Task

TITLES = {
    "ask": "Asking the Hub",
    "fit": "Working out what it needs",
    "download": "Downloading",
    "quantize": "Quantizing",
    "calibrate": "Calibrating",
    "allocate": "Choosing the type of each tensor",
    "publish": "Hashing and publishing",
    "test": "Measuring",
    "toolchain": "Fetching the llama.cpp converter",
}


SHORT = ("ask", "fit", "advice")  # stages that are worth a bar, but no line of their own
BRIEF_SECONDS = 1.0  # such a stage that took less leaves no line when it is over
NOTE_WIDTH = 30


class ProgressView:
    """A subscriber of the bus. Draws bars where people watch a terminal, plain lines elsewhere."""

    def __init__(self, console: Callable[[], Console], notice: Callable[[str], None], *, live: bool) -> None:
        """Draw on `console` where it is `live`, a terminal that people watch; `notice` says a line elsewhere."""
        self._console = console
        self._notice = notice
        self._live = live
        self._bars: Bars | None = None
        self._tasks: dict[str, Any] = {}

    def __call__(self, event: events.Event) -> None:
        """Take one event."""
        match event:
            case events.StageStarted():
                self._start(event.stage, event.title or TITLES.get(event.stage, event.stage))
            case events.Progress():
                self._advance(event)
            case events.StageFinished():
                self._finish(event)
            case events.AttemptFailed(retry_in_seconds=seconds) if seconds is not None:
                self.stop()  # of the stages that a killed worker was in, no end is told
                self.say(f"{event.error.get('message', 'It failed.')} Trying again in {duration(seconds)}.")
            case events.Notice():
                self.say(event.text)
            case events.JobFinished():
                self.stop()
            case _:
                pass

    def stop(self) -> None:
        """Take the bars away, before a prompt or an answer."""
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._tasks = None, {}

    def say(self, text: str) -> None:
        """A line that stays, above the bars."""
        from lqmf.cli.views.messages import notice_view

        if self._bars is not None:
            self._bars.console.print(notice_view(text))
        else:
            self._notice(text)

    def _start(self, stage: str, title: str) -> None:
        if not self._live:
            if stage not in SHORT:
                self.say(title)
            return
        if self._bars is None:
            self._bars = _bars(self._console())
            self._bars.start()
        self._tasks[stage] = self._bars.add_task(title, total=None, unit="", note="")

    def _advance(self, event: events.Progress) -> None:
        if self._bars is not None and event.stage in self._tasks:
            self._bars.update(
                self._tasks[event.stage], completed=event.done, total=event.total, unit=event.unit, note=event.note
            )

    def _finish(self, event: events.StageFinished) -> None:
        if self._bars is None or event.stage not in self._tasks:
            return
        from lqmf.cli.views.messages import stage_view

        task = self._tasks.pop(event.stage)
        title = next(t.description for t in self._bars.tasks if t.id == task)
        self._bars.remove_task(task)
        console = self._bars.console
        if not self._tasks:
            self.stop()
        if event.ok and event.stage in SHORT and event.seconds < BRIEF_SECONDS:
            return
        console.print(stage_view(title, duration(event.seconds), ok=event.ok))


def _bars(console: Console) -> Bars:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    class Reflowing(Progress):
        """Bars that are erased as a whole where the terminal was made narrower: it folds what was drawn before."""

        def get_renderable(self) -> ConsoleRenderable | RichCast | str:
            """Count the rows that the last drawing takes by now."""
            live = getattr(self, "live", None)  # it is asked for while it is made, too
            if live is not None and live._live_render._shape is not None:
                live._live_render._shape = folded(live._live_render._shape, self.console.width)
            return super().get_renderable()

    return Reflowing(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        _column(_amount),
        _column(_times),
        console=console,
        transient=True,
        refresh_per_second=8,
    )


def folded(shape: tuple[int, int], width: int) -> tuple[int, int]:
    """The columns and rows that a drawing of this shape takes on a terminal of `width` columns."""
    columns, rows = shape
    return min(columns, width), rows * max(1, -(-columns // width))


def _column(write: Callable[[Task], str]) -> Any:
    """A column of a bar, as `write` has it."""
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Column(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(write(task), no_wrap=True)

    return Column()


def _amount(task: Task) -> str:
    """Done of total; what is being done, where nothing is counted yet."""
    told = amount(task.completed, task.total, task.fields.get("unit", ""), task.speed)
    return told if told and task.completed else str(task.fields.get("note", ""))[:NOTE_WIDTH] or told


def _times(task: Task) -> str:
    return times(task.elapsed, None if task.finished else task.time_remaining)


def times(elapsed: float | None, left: float | None) -> str:
    """The time that has passed, and what is left at the pace of late: "0:12, 0:30 left"."""
    passed = clock(elapsed or 0.0)
    return passed if left is None else f"{passed}, {clock(left)} left"


def clock(seconds: float) -> str:
    """A time as a clock shows it: "0:05", "1:02:09"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def amount(done: float, total: float | None, unit: str, speed: float | None) -> str:
    """`done` of `total` in words: "1.2 of 4.4 GB, 85 MB/s", "120 of 291 tensors"."""
    if not unit or (total is None and not done):
        return ""
    if unit != "bytes":
        return f"{done:.0f}" + (f" of {total:.0f}" if total else "") + f" {unit}"
    of = f"{file_size(done)} of {file_size(total)}" if total else file_size(done)
    return of + (f", {file_size(speed)}/s" if speed else "")
