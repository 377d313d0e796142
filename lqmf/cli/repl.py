"""The chat at a terminal: prompt_toolkit reads lines, the session carries them out.

Knows the terminal: history, completion, the bottom line, Ctrl-C and Ctrl-D. Knows nothing of what lines do.
"""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_session
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input.typeahead import clear_typeahead, get_typeahead, store_typeahead

from lqmf.cli import interrupted
from lqmf.cli.ask import Feed, Terminal
from lqmf.cli.render import Screen
from lqmf.errors import LqmfError
from lqmf.operations.asking import Recommended

if TYPE_CHECKING:
    from prompt_toolkit.history import History

    from lqmf.cli.session import Session
    from lqmf.records import Question
    from lqmf.understanding.answers import Reply

PROMPT = "lqmf> "
BANNER = "LQMF {version}. Say what to quantize, or `help`; `demo` shows it all. Ctrl-D leaves."
LEAVING = "Ctrl-D leaves."
HISTORY = "history"


class Person(Terminal):
    """A person whose yes and whose secrets count only when typed after the question was seen."""

    async def __call__(self, question: Question) -> Reply:
        """What the person chose."""
        if question.kind != "plan":
            forget_typed()
        return await super().__call__(question)


class MaskedHistory(FileHistory):
    """The lines of earlier chats in a file, with what is secret in them masked."""

    def store_string(self, string: str) -> None:
        """Append a line to the file."""
        from lqmf.hub.auth import redact

        super().store_string(redact(string))


async def chat(options: Mapping[str, Any]) -> int:
    """Talk until the person leaves; returns the exit code 0."""
    from lqmf.cli.session import Session

    screen = Screen(color=not options.get("no_color"))
    pasted = Feed(iter(()))
    asking = Person(screen, read_line, pasted)
    session = Session(screen, options, Recommended(asking) if options.get("yes") else asking, talking=True)
    asking.aside = session.aside
    with contextlib.closing(session):
        _greet(session)
        await _talk(session, pasted)
    return 0


def _greet(session: Session) -> None:
    from lqmf.cli.views.messages import banner_view
    from lqmf.version import VERSION

    session.screen.show(banner_view(BANNER.format(version=VERSION)))
    interrupted.tell(session)


async def _talk(session: Session, pasted: Feed) -> None:
    prompt = _prompt_session(session)
    while not session.finished:
        try:
            text = await prompt.prompt_async(FormattedText([("ansicyan bold", PROMPT)]))
        except KeyboardInterrupt:
            if not prompt.default_buffer.text:
                session.screen.notice(LEAVING)
            continue
        except EOFError:
            return
        pasted.give_back(*filter(str.strip, text.splitlines()))
        await _turns(session, pasted)


async def _turns(session: Session, pasted: Feed) -> None:
    """Every line that came at once, one turn each; Ctrl-C drops those that are left."""
    from lqmf.cli.interruptible import interruptible

    several = len(pasted) > 1
    while not session.finished and (line := pasted.take()) is not None:
        if several:
            session.screen.echo(PROMPT + line)
        session.screen.worked = False
        await interruptible(session.line(line), session)
        if session.screen.worked and is_typed_ahead():
            session.expect_unknowing_line()
        if session.interrupted:
            forget_typed()
            while pasted.take() is not None:
                pass


def is_typed_ahead() -> bool:
    """Whether a line waits that was typed while a job ran: it is the next turn, but was no answer to what is proposed
    at the job's end."""
    keys = get_app_session().input
    typed = get_typeahead(keys)
    store_typeahead(keys, typed)
    if typed or sys.platform == "win32" or not sys.stdin.isatty():
        return bool(typed)
    return bool(select.select([sys.stdin], [], [], 0)[0])


def forget_typed() -> None:
    """Drop keys that were pressed before: they were not meant for what is asked next."""
    clear_typeahead(get_app_session().input)
    if sys.platform == "win32" or not sys.stdin.isatty():
        return
    import termios

    with contextlib.suppress(termios.error):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _prompt_session(session: Session) -> PromptSession[str]:
    from lqmf.cli.completion import ChatCompleter
    from lqmf.cli.toolbar import Toolbar

    return PromptSession(
        history=_history(session),
        completer=ChatCompleter(session),
        complete_while_typing=False,
        bottom_toolbar=Toolbar(session),
        refresh_interval=2.0,
        enable_history_search=True,
        mouse_support=False,
    )


def _history(session: Session) -> History:
    """The lines of earlier chats; kept in memory alone where the workspace cannot be written."""
    try:
        folder = session.app.workspace.store
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / HISTORY
        path.touch(mode=0o600)
    except (OSError, LqmfError):
        return InMemoryHistory()
    return MaskedHistory(str(path))


async def read_line(prompt: str, *, secret: bool) -> str | None:
    """One line for a question, its own history aside; None for Ctrl-C and Ctrl-D."""
    reader: PromptSession[str] = PromptSession(history=InMemoryHistory())
    try:
        return await reader.prompt_async(FormattedText([("ansicyan", prompt)]), is_password=secret)
    except (KeyboardInterrupt, EOFError):
        return None
