"""What Ctrl-C does: it cancels the work at hand, and never the process. Knows a session and a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from lqmf.cli.outcome import Outcome
from lqmf.errors import JobCancelled, LqmfError

if TYPE_CHECKING:
    from lqmf.cli.session import Session


async def interruptible(work: Coroutine[Any, Any, Outcome], session: Session) -> Outcome:
    """`work`, which Ctrl-C cancels and does not kill: what it started is ended in order, and the outcome says so."""
    screen, session.interrupted = session.screen, False
    task = asyncio.ensure_future(work)
    with on_interrupt(task), silent_keys():
        try:
            return await task
        except asyncio.CancelledError:
            session.interrupted = True
            screen.pause_progress()
            remedy = _next(session)
            screen.notice(f"Cancelled. {remedy}".strip())
            error = {"code": "cancelled", "message": "Cancelled.", "remedy": remedy}
            outcome = Outcome({"error": error}, None, JobCancelled.exit_code)
            if screen.json:
                screen.document(outcome.data)
            return outcome


def _next(session: Session) -> str:
    """The sentence that says what to type for the job that was just cancelled here; empty where none was."""
    from lqmf.store.jobs import command

    try:
        job = session.last_job()
    except LqmfError:
        return ""
    if job is None or (job["owner_pid"], job["status"]) != (os.getpid(), "cancelled"):
        return ""
    return f"`lqmf {command(job)}` {'goes on with it' if job['kind'] == 'quantize' else 'starts anew'}."


@contextlib.contextmanager
def silent_keys() -> Iterator[None]:
    """While the block runs, keys pressed at a terminal are not echoed into the progress; they wait for the prompt."""
    if not sys.stdin.isatty() or sys.platform == "win32":
        yield
        return
    import termios

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextlib.contextmanager
def on_interrupt(task: asyncio.Task[Any]) -> Iterator[None]:
    """While the block runs, Ctrl-C cancels `task`."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(task.cancel))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
