"""Operations for a Python program: a request is carried out in an App that lasts for a call.

Nobody is asked: open questions take their recommended answers, and one that has none raises NeedsInput. What would be
said in passing goes to the logger "lqmf". Draws nothing and needs no terminal.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lqmf.app import App
from lqmf.events import Event, Notice
from lqmf.operations.asking import never_asking
from lqmf.records import Request
from lqmf.understanding.answers import Ask

T = TypeVar("T")
Run = Callable[[App, Request, Ask], Awaitable[T]]


def carried_out(run: Run[T], wanted: Request, workspace: str | Path | None) -> T:
    """Run an operation to its end. Raises LqmfError. Where a loop runs already, as in a notebook, it gets a thread of
    its own."""

    def whole() -> T:
        with opened(workspace) as app:
            return asyncio.run(_coroutine(run, app, wanted))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return whole()
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(whole).result()


def opened(workspace: str | Path | None) -> App:
    """Return the App of a workspace: the one that is named, else where the command line finds it."""
    app = App.create(str(workspace) if workspace else None, {}, Path.cwd(), os.environ)
    app.bus.subscribe(_logged)
    return app


async def _coroutine(run: Run[T], app: App, wanted: Request) -> T:
    return await run(app, wanted, never_asking())


def _logged(event: Event) -> None:
    if isinstance(event, Notice):
        level = logging.WARNING if event.level == "warning" else logging.INFO
        logging.getLogger("lqmf").log(level, event.text)
