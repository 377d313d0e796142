"""`printf '..' | lqmf`: stdin line by line, each line after its prompt, as a transcript. Exit 1 if a turn failed.

Knows lines and exit codes; a turn itself is the session's.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

from lqmf.cli import interrupted
from lqmf.cli.ask import Feed, Replayed
from lqmf.cli.interruptible import interruptible
from lqmf.cli.render import Screen
from lqmf.errors import JobCancelled
from lqmf.operations.asking import Recommended

PROMPT = "lqmf> "


async def replay(options: Mapping[str, Any]) -> int:
    """Carry out every line of stdin up to its end or an `exit`; returns the exit code."""
    from lqmf.cli.session import Session

    screen = Screen(color=not options.get("no_color"), transcript=True)
    feed = Feed(line.rstrip("\r\n") for line in sys.stdin)
    answers = Replayed(screen, feed)
    session = Session(screen, options, Recommended(answers) if options.get("yes") else answers, talking=True)
    answers.aside = session.aside
    with contextlib.closing(session):
        interrupted.tell(session)
        return await _lines(session, feed)


async def _lines(session: Any, feed: Feed) -> int:
    failed = False
    while not session.finished and (line := feed.take()) is not None:
        if not line.strip():
            continue
        session.screen.echo(PROMPT + line)
        if line.lstrip().startswith("#"):
            continue
        outcome = await interruptible(session.line(line), session)
        if session.interrupted:
            return JobCancelled.exit_code
        failed = failed or outcome.failed
    return 1 if failed else 0
