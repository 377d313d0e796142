"""One line in, one Outcome out: is it a command or a sentence, who carries it out, and how is the end told.

Shared by the shell, the chat and the replay. Knows the tree of commands and the App; draws nothing itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from lqmf.cli import faults, registry
from lqmf.cli.ask import Nobody, Recommended
from lqmf.cli.render import Screen
from lqmf.errors import LqmfError, of_system
from lqmf.records import Decision, Outcome, Utterance

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.cli.command import Ask
    from lqmf.cli.invocation import Invocation

# Words that a sentence has where a command has a name: "test it", "compare this with that".
SPOKEN_TEXT = """
a again all an and another any anything as both everything for from him i in it last latest list me mine model models my
newest of off on one ones other our please previous same something that the them these this those to us versus vs what
which with you your
"""
SPOKEN = frozenset(SPOKEN_TEXT.split())
NAMING = ("model", "name", "names", "topic", "job")
NOTHING = Outcome(None)
DECLINED = Decision("cancel", {}, 1.0, "a no to a proposed reading")


class Session:
    """A dialogue with one person, in one workspace. `ask` is that person, `screen` what they see; `talking` is True
    where another line may follow."""

    def __init__(
        self, screen: Screen, options: Mapping[str, Any], ask: Ask | None = None, *, talking: bool = False
    ) -> None:
        self.screen = screen
        self.options = options
        self.ask: Ask = ask or Nobody(screen)
        self.talking = talking
        self.finished = False
        self.interrupted = False  # whether the last turn was ended by Ctrl-C
        self._app: App | None = None

    @property
    def app(self) -> App:
        """The App, made when first needed; its progress shows on the screen."""
        if self._app is None:
            self._app = make_app(self.options, self.screen)
        return self._app

    def logs(self) -> Path:
        """The folder of logs. Raises LqmfError when not even the settings can be read."""
        return self.app.workspace.logs

    def close(self) -> None:
        """Give back what the App holds."""
        if self._app is not None:
            self._app.close()

    # ------------------------------------------------------------ one turn

    async def line(self, text: str) -> Outcome:
        """One line of the chat: read, carried out, printed, remembered."""
        return await self._told(lambda: self._line(text))

    async def run(self, invocation: Invocation, text: str) -> Outcome:
        """What the shell's words came to: carried out, printed, remembered as `text`."""
        return await self._told(lambda: self._run(invocation, text))

    async def _told(self, work: Callable[[], Awaitable[Outcome]]) -> Outcome:
        screen = self.screen
        try:
            outcome = await work()
        except LqmfError as error:
            outcome = faults.failed(error, screen)
        except OSError as error:
            outcome = faults.failed(of_system(error), screen)
        except Exception as error:  # noqa: BLE001 - the top of a turn: the chat outlives a fault in one of them
            outcome = faults.unexpected(error, self.screen, self.logs, verbose=bool(self.options.get("verbose")))
        screen.deliver(outcome)
        return outcome

    async def _line(self, text: str) -> Outcome:
        invocation = read_line(text, self)
        if invocation is None:
            return NOTHING
        if invocation.options.get("json") and not self.screen.json:
            return await self._as_json(invocation, text)
        return await self._run(invocation, text)

    async def _as_json(self, invocation: Invocation, text: str) -> Outcome:
        """A command of the chat with --json: its document, printed here; questions are not asked."""
        inner = Session(Screen(json=True), self.options)
        inner._app = self.app
        outcome = await inner.run(invocation, text)
        self._app = inner._app
        return Outcome(outcome.data, None, outcome.exit_code)

    async def _run(self, invocation: Invocation, text: str) -> Outcome:
        ask = Recommended(self.ask) if invocation.options.get("yes") else self.ask
        if invocation.module is None:
            return await self._sentence(invocation.sentence, ask)
        return await self._typed(invocation.module, cast(Decision, invocation.decision), text, ask)

    async def _sentence(self, text: str, ask: Ask) -> Outcome:
        from lqmf.cli.spoken import declines, to_nothing_asked, without_command

        if not self._proposed() and (notice := to_nothing_asked(text)) is not None:
            return notice

        async def carry_out(decision: Decision) -> Outcome:
            if declines(decision):
                return Outcome({"status": "notice", "text": "Nothing is made."}, "Nothing is made.")
            self._tell_left_out(text, decision)
            module = registry.for_intent(decision.intent)
            return await self._act(module, decision, ask) if module else without_command(decision)

        return await self.app.pipeline.turn(Utterance(text), carry_out, help_out=partial(self._helped, text, ask))

    async def _helped(self, text: str, ask: Ask, read: Decision) -> Decision:
        """The decision for a line that the rules left open, where a provider reads it and, if it changes anything, the
        user agrees; the rules' own otherwise."""
        reader = self.app.reader if read.intent == "unknown" else None
        reading = await reader.helped(text, self.app.understanding.lines[:-1], read) if reader else None
        if reading is None or reading.decision is None:
            return read
        from lqmf.cli.spoken import agreed

        return reading.decision if await agreed(reading.decision, ask) else DECLINED

    def _tell_left_out(self, text: str, decision: Decision) -> None:
        from lqmf.understanding.lexicon import REQUESTS
        from lqmf.understanding.slots import below_zero

        for amount in below_zero(text) if decision.intent in REQUESTS else ():
            self.screen.notice(f"{amount} is no amount of memory: it was left out.")

    async def _typed(self, module: ModuleType, decision: Decision, text: str, ask: Ask) -> Outcome:
        if not module.COMMAND.remembered:
            if module.COMMAND.needs_app and module.COMMAND.heard:  # "set it to debug" may follow
                self.app.understanding.decide(Utterance(text))
            return await self._act(module, decision, ask)
        return await self.app.pipeline.turn(Utterance(text), lambda d: self._act(module, d, ask), decision)

    async def _act(self, module: ModuleType, decision: Decision, ask: Ask) -> Outcome:
        self.finished = self.finished or decision.intent == "exit"
        outcome: Outcome = await module.act(self.app if module.COMMAND.needs_app else None, decision, ask)
        if decision.intent == "llm_switch" or (decision.intent == "config" and "value" in decision.slots):
            self._renew()
        return self._closed(outcome)

    def _closed(self, outcome: Outcome) -> Outcome:
        """The outcome with what it proposes, which a yes in the next line accepts."""
        if outcome.proposal is None:
            return outcome
        from lqmf.cli import next_step

        if self.talking:
            self.app.understanding.note_proposed(outcome.proposal.decision)
        return next_step.closed(outcome, talking=self.talking)

    def _proposed(self) -> bool:
        """Whether the last turn proposed something."""
        return self._app is not None and self._app.understanding.state.proposed is not None

    def _renew(self) -> None:
        """A setting changed: the next turn has an App that knows it, and the same dialogue."""
        before, self._app = self.app, None
        self.app.understanding.state = before.understanding.state
        self.app.understanding.lines = before.understanding.lines
        before.close()


def make_app(options: Mapping[str, Any], screen: Screen) -> App:
    """The App for the workspace and the options given, with its progress on `screen`."""
    import os

    from lqmf.app import App

    kept = {key: options[key] for key in ("storage_backend", "llm_provider") if key in options}
    app = App.create(options.get("workspace"), kept, Path.cwd(), os.environ)
    app.bus.subscribe(screen.progress)
    return app


# ---------------------------------------------------------------- command or sentence


def read_line(text: str, session: Session) -> Invocation | None:
    """A line of the chat as a command, where it parses whole as one, or else as a sentence; None: help was printed.

    Raises UsageError for an option of the command with a value that it cannot take.
    """
    words = split(text)
    if not words or not registry.exists(words[0]):
        return sentence(text)
    from typer import Exit, TyperException

    from lqmf.cli import tree

    try:
        invocation = tree.read(words)
    except Exit:
        return None
    except TyperException as error:
        if faults.is_of_an_option(error):
            raise faults.usage(error) from None
        if "No such option" in str(error.message):
            session.screen.notice(f"{error.message}: so this is read as a sentence.")
        return sentence(text)
    return invocation if is_command(invocation, session) else sentence(text)


def sentence(text: str, options: dict[str, Any] | None = None) -> Invocation:
    """`text` as something said."""
    from lqmf.cli.invocation import Invocation

    return Invocation(sentence=text, options=options or {})


def split(text: str) -> list[str]:
    """The words of a line as a shell splits them, without a leading `lqmf`; none where quotes do not close."""
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    return words[1:] if words[:1] == ["lqmf"] and len(words) > 1 else words


def is_command(invocation: Invocation, session: Session) -> bool:
    """Whether words that parse as a command are one: "test it" parses, and is none."""
    if invocation.decision is None:
        return True
    if is_spoken(invocation.decision):
        return False
    if invocation.module is None or not invocation.module.COMMAND.names_artifacts:
        return True
    return known(named(invocation.decision, ("name", "names")), session)


def is_spoken(decision: Decision) -> bool:
    """Whether a word of everyday speech stands where a command has a name: "test it"."""
    return any(word.lower() in SPOKEN for word in named(decision, NAMING))


def known(names: list[str], session: Session) -> bool:
    """Whether every one of `names` is a path, or (part of) an artifact's name here."""
    artifacts = [artifact.name.lower() for artifact in session.app.pipeline.artifacts()]
    return all(is_path(name) or any(name.lower() in artifact for artifact in artifacts) for name in names)


def is_path(word: str) -> bool:
    """Whether a word is meant as a path or an address, by its looks."""
    return word.startswith(("./", "../", "/", "~", "http://", "https://")) or word.endswith(".gguf")


def named(decision: Decision, slots: tuple[str, ...]) -> list[str]:
    """The words that stand where a command has a name."""
    values = [decision.slots[key] for key in slots if decision.slots.get(key) is not None]
    return [str(word) for value in values for word in (value if isinstance(value, list | tuple) else [value])]
