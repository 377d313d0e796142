"""The only printer. Everything that reaches the terminal or a pipe goes through a Screen.

Knows rich, streams and colours; knows nothing of models and jobs. Control characters never pass.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from lqmf.terminal import clean

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from lqmf.cli.progress import ProgressView
    from lqmf.events import Event
    from lqmf.records import Outcome

MAX_WIDTH = 120


@dataclass(frozen=True)
class Lines:
    """Several documents, a line each: what `--json` prints for a stream of answers."""

    documents: Iterable[Any]


class _Cleaned:
    """A view whose every piece of text is cleaned as it is drawn, whatever it was made from."""

    def __init__(self, view: Any) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for segment in console.render(self._view, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)


class Screen:
    """Where output goes. With `json`, stdout is kept for the one document and people's output goes to stderr."""

    def __init__(self, *, json: bool = False, color: bool = True, transcript: bool = False) -> None:
        self.json = json
        self.transcript = transcript  # a replay: errors are part of what is told, nothing is drawn twice
        self._color = color and not os.environ.get("NO_COLOR")
        self._consoles: dict[str, Console] = {}
        self._progress: ProgressView | None = None
        self.worked = False  # whether a job told of itself; who wants to know of one turn sets it back before

    @property
    def people(self) -> IO[str]:
        """The stream that people read."""
        return sys.stderr if self.json else sys.stdout

    def is_terminal(self, stream: IO[str] | None = None) -> bool:
        """Whether a person sees `stream` (by default: people's) on a screen."""
        return (stream or self.people).isatty()

    def console(self, stream: IO[str] | None = None) -> Console:
        """A rich console for `stream`; nothing in what it prints is taken for markup."""
        from rich.console import Console

        stream = stream or self.people
        name = "stderr" if stream is sys.stderr else "stdout"
        if name not in self._consoles or self._consoles[name].file is not stream:
            self._consoles[name] = Console(
                file=stream,
                markup=False,
                highlight=False,
                emoji=False,
                no_color=not self._color,
                color_system="auto" if self._color else None,
                soft_wrap=False,
            )
        return self._consoles[name]

    def progress(self, event: Event) -> None:
        """Take an event of a job, or a piece of an answer: a subscriber of the bus."""
        from lqmf.events import Said

        if isinstance(event, Said):
            self.pause_progress()
            write(self.people, clean(event.text))
            return
        self.worked = self.worked or bool(event.job)  # looking at a model is no job
        if self._progress is None:
            from lqmf.cli.progress import ProgressView

            stream = self.people if self.transcript else sys.stderr
            live = stream.isatty() and not self.transcript
            self._progress = ProgressView(partial(self.console, stream), self.notice, live=live)
        self._progress(event)

    def pause_progress(self) -> None:
        """Take bars off the terminal, before a prompt or an answer."""
        if self._progress is not None:
            self._progress.stop()

    # ------------------------------------------------------------ saying things

    def deliver(self, outcome: Outcome) -> None:
        """Print an outcome: for people, or as the one document."""
        self.pause_progress()
        if self.json:
            self.document(outcome.data)
        else:
            self.show(outcome.view)

    def show(self, view: Any) -> None:
        """Print a view for people: a string as it is, anything else as rich draws it."""
        self._draw(view, self.people)

    def document(self, data: Any) -> None:
        """Print the one JSON document (or the lines of a stream of them) on stdout."""
        from lqmf.records import to_json

        for item in data.documents if isinstance(data, Lines) else [data]:
            indent = None if isinstance(data, Lines) or not self.is_terminal(sys.stdout) else 2
            write(sys.stdout, json.dumps(to_json(item), indent=indent) + "\n")

    def error(self, what: str, remedy: str = "") -> None:
        """Say what went wrong and what to type next."""
        from lqmf.cli.views.messages import error_view

        self._draw(error_view(what, remedy), self.people if self.transcript else sys.stderr)

    def notice(self, text: str) -> None:
        """Say something in passing."""
        from lqmf.cli.views.messages import notice_view

        self._draw(notice_view(text), self.people if self.transcript else sys.stderr)

    def echo(self, text: str) -> None:
        """Print a line just so: a prompt and what was typed after it."""
        write(self.people, clean(text) + "\n")

    def _draw(self, view: Any, stream: IO[str]) -> None:
        if view is None or view == "":
            return
        if isinstance(view, str):
            write(stream, clean(view) + "\n")
            return
        console = self.console(stream)
        width = min(console.width, MAX_WIDTH)
        with console.capture() as captured:
            console.print(_Cleaned(view), width=width, crop=console.is_terminal)
        lines = [line.rstrip() for line in captured.get().split("\n")]
        write(stream, "\n".join(lines))


def write(stream: IO[str], text: str) -> None:
    """Write and flush; what the stream's encoding lacks becomes a question mark.

    Where the reader of a pipe went away, this text and all later ones go nowhere: the work itself goes on.
    """
    try:
        _put(stream, text)
        stream.flush()
    except BrokenPipeError:
        lead_nowhere(stream)


def _put(stream: IO[str], text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "replace").decode(encoding))


def lead_nowhere(stream: IO[str]) -> None:
    """Have `stream` write to the null device from now on, what it still holds included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
