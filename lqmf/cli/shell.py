"""From the shell's words to an exit code: a command, a sentence, a replay of stdin, or the chat.

Knows arguments, streams and signals; knows nothing of what commands do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lqmf.cli.interruptible import interruptible
from lqmf.cli.render import Screen, lead_nowhere
from lqmf.declared.entry_points import untold
from lqmf.errors import JobCancelled, LqmfError, NotBuilt, UsageError

if TYPE_CHECKING:
    from lqmf.cli.invocation import Invocation
    from lqmf.understanding.answers import Ask

COMPLETE = "_LQMF_COMPLETE"
LATER = {"mcp": "be a server of the Model Context Protocol", "api": "serve its own work over an API"}
Options = dict[str, Any]


def run(arguments: Sequence[str]) -> int:
    """Carry out `arguments`; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 cancelled."""
    _forgiving_streams()
    try:
        return _run(list(arguments))
    except BrokenPipeError:  # the reader of a help text went away: nothing is wrong, and nothing more can be said
        lead_nowhere(sys.stdout)
        return 0
    except OSError as error:  # of a stream, which nothing more can be said on; those of files end with their turn
        lead_nowhere(sys.stdout)
        why = f"The output could not be written: {error.strerror or error}."
        return _refused(LqmfError(why, "Send it elsewhere."))
    except KeyboardInterrupt:
        return JobCancelled.exit_code


def _run(arguments: list[str]) -> int:
    if os.environ.get(COMPLETE):
        return _complete()
    if not arguments:
        return _chat({})
    return _with_arguments(arguments)


def _with_arguments(arguments: list[str]) -> int:
    from typer import Exit, TyperException

    try:
        invocation = read(arguments)
    except Exit as done:  # --help was printed
        for sentence in untold():
            Screen().notice(sentence)
        return done.exit_code
    except TyperException as error:
        from lqmf.cli import faults

        return _refused(faults.usage(error), arguments)
    except LqmfError as error:  # an option that this version lacks
        return _refused(error, arguments)
    return _carry_out(invocation, arguments)


def _refused(error: LqmfError, arguments: Sequence[str] = ()) -> int:
    """Nothing was begun: the words themselves are wrong."""
    from lqmf.cli import faults

    screen = Screen(json="--json" in arguments, color="--no-color" not in arguments)
    outcome = faults.failed(error, screen)
    if screen.json:
        screen.document(outcome.data)
    return outcome.exit_code


def read(arguments: list[str]) -> Invocation:
    """The shell's words as a command or a sentence. Raises typer's errors for a command that is wrong."""
    from typer import BadParameter, TyperException

    from lqmf.cli import session, tree

    try:
        invocation = tree.read(session.without_slash(arguments))
    except BadParameter:
        raise
    except TyperException:
        if not _may_be_said(arguments):
            raise
        return tree.read(arguments, as_sentence=True)
    if invocation.decision is not None and session.is_spoken(invocation.decision):
        return tree.read(arguments, as_sentence=True)
    _refuse_later(invocation.sentence)
    return invocation


def _may_be_said(arguments: list[str]) -> bool:
    """Whether words that are no right command may be a sentence: several, none an option, and understood as one."""
    from lqmf.cli import tree

    if len(arguments) < 2 or any(word.startswith("-") for word in arguments):
        return False
    if len(arguments) == 2 and hasattr(tree.leaf(arguments[0]), "commands"):  # `hf bogus`: no such subcommand
        return False
    from lqmf.agents.enhanced_decision_agent import EnhancedDecisionAgent
    from lqmf.records import Utterance

    return EnhancedDecisionAgent().decide(Utterance(" ".join(arguments))).intent != "unknown"


def _refuse_later(sentence: str | None) -> None:
    """Raises NotBuilt for the name of a command that this version lacks, which would make a poor sentence."""
    words = (sentence or "").lower().split()
    if len(words) in (1, 2) and words[0] in LATER:
        from lqmf.cli.spoken import INSTEAD

        raise NotBuilt(f"This version cannot {LATER[words[0]]} yet.", INSTEAD)


def _carry_out(invocation: Invocation, arguments: list[str]) -> int:
    options = invocation.options
    if options.get("version"):
        from lqmf.version import VERSION

        Screen().echo(f"lqmf {VERSION}")
        return 0
    text = options.get("command") or invocation.sentence
    if invocation.module is None and not text:
        return _chat(options)
    if invocation.module is None:
        from lqmf.cli.session import sentence

        return _one_turn(sentence(text, options), text)
    return _one_turn(invocation, " ".join(arguments))


def _one_turn(invocation: Invocation, text: str) -> int:
    from lqmf.cli.ask import Terminal
    from lqmf.cli.session import Session

    options = invocation.options
    screen = Screen(json=bool(options.get("json")), color=not options.get("no_color"))
    asking = _ask(screen)
    session = Session(screen, options, asking)
    if isinstance(asking, Terminal):
        asking.aside = session.aside
    with contextlib.closing(session):
        outcome = asyncio.run(interruptible(session.run(invocation, text), session))
    return outcome.exit_code


def _ask(screen: Screen) -> Ask:
    """A person can be asked where both ends are a terminal and no program waits for the one document."""
    from lqmf.cli.ask import Nobody

    if screen.json or not sys.stdin.isatty():
        return Nobody(screen)
    from lqmf.cli.repl import Person, read_line

    return Person(screen, read_line)


def _chat(options: Options) -> int:
    if options.get("json"):
        error = UsageError("--json needs a command or a sentence.", "For example: `lqmf list --json`.")
        return _refused(error, ["--json"])
    if sys.stdin.isatty():
        from lqmf.cli.repl import chat

        return asyncio.run(chat(options))
    from lqmf.cli.replay import replay

    signal.signal(signal.SIGINT, signal.default_int_handler)  # between turns, Ctrl-C ends the replay
    return asyncio.run(replay(options))


def _complete() -> int:
    from lqmf.cli import tree

    tree.learn_shells()
    with contextlib.suppress(SystemExit):
        tree.root().main(args=[], prog_name=tree.PROGRAM, complete_var=COMPLETE)
    return 0


def _forgiving_streams() -> None:
    """Bytes that are no text, and text that the terminal's encoding lacks, are shown as such and end nothing."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
