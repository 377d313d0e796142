"""One line in, one Outcome out: is it a command or a sentence, who carries it out, and how is the end told.

Shared by the shell, the chat and the replay. Knows the tree of commands and the App; draws nothing itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from lqmf.cli import faults, registry
from lqmf.cli.ask import Nobody
from lqmf.cli.outcome import Outcome
from lqmf.cli.render import Lines, Screen
from lqmf.declared.entry_points import untold
from lqmf.errors import LqmfError, of_system
from lqmf.operations.asking import Recommended
from lqmf.records import TYPED, Decision, Utterance

if TYPE_CHECKING:
    from lqmf.advice.reading import Reader
    from lqmf.app import App
    from lqmf.cli.invocation import Invocation
    from lqmf.operations.result import Result
    from lqmf.understanding.answers import Ask

# Words that a sentence has where a command has a name: "test it", "compare this with that".
SPOKEN_TEXT = """
a again all an and another any anything as both everything for from him i in it last latest list me mine model models my
newest of off on one ones other our please previous same something that the them these this those to us versus vs what
which with you your
"""
SPOKEN = frozenset(SPOKEN_TEXT.split())
NAMING = ("model", "name", "names", "topic", "job")
LOOKS = frozenset(
    ["explain", "help", "list", "show", "stats", "history", "doctor", "llm_status", "hf_status", "config", "compare"]
)
WISHES = ("quantize", "exit")  # these end the question that is open
SECRET = "That line holds a secret; it is kept masked. `hf login` takes a token unseen; revoke one that others saw."
NOTHING = Outcome(None)
DECLINED = Decision("cancel", {}, 0.9, "a no to a proposed reading")


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
        self._results: dict[str, Result] = {}  # by command, the last one
        self._unknowing = False  # whether the next line was typed before the last turn proposed something

    @property
    def app(self) -> App:
        """The App, made when first needed; its progress shows on the screen."""
        if self._app is None:
            self._app = make_app(self.options, self.screen)
        return self._app

    def logs(self) -> Path:
        """The folder of logs. Raises LqmfError when not even the settings can be read."""
        return self.app.workspace.logs

    def last_job(self) -> Mapping[str, Any] | None:
        """The job recorded last, where this session has done anything at all. Raises LqmfError."""
        return self._app.memory.last_job() if self._app is not None else None

    def close(self) -> None:
        """Give back what the App holds."""
        if self._app is not None:
            self._app.close()

    # ------------------------------------------------------------ one turn

    async def line(self, text: str) -> Outcome:
        """One line of the chat: read, carried out, printed, remembered."""
        try:
            return await self._told(lambda: self._line(text))
        finally:
            self._unknowing = False

    async def run(self, invocation: Invocation, text: str) -> Outcome:
        """What the shell's words came to: carried out, printed, remembered as `text`."""
        return await self._told(lambda: self._run(invocation, text))

    async def aside(self, text: str) -> bool:
        """Carry out a line typed at an open question, where it is a command or only looks; whether it was. A line that
        may change the wish is left to the question."""
        try:
            invocation = read_line(text, self)
        except LqmfError as error:
            faults.failed(error, self.screen)
            return True
        if invocation is None:
            return True
        decision = invocation.decision or self.app.understanding.meaning(text)
        looks = decision.intent in LOOKS or (decision.intent == "config" and "value" in decision.slots)
        if not looks and (invocation.module is None or decision.intent in WISHES):
            return False
        await self._told(lambda: self._run(invocation, text))
        return True

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
        for sentence in untold():
            screen.notice(sentence)
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
        self._warn_of_secrets(text)
        ask = Recommended(self.ask) if invocation.options.get("yes") else self.ask
        if invocation.module is None:
            return await self._sentence(invocation.sentence, ask)
        return await self._typed(invocation.module, cast(Decision, invocation.decision), text, ask)

    def _warn_of_secrets(self, text: str) -> None:
        from lqmf.hub.auth import redact

        if redact(text) != text:
            self.screen.notice(SECRET)

    async def _sentence(self, text: str, ask: Ask) -> Outcome:
        from lqmf.cli.spoken import of_the_notes, to_nothing_asked

        if not self._proposed() or self._unknowing:
            notice = to_nothing_asked(text, typed_before=self._unknowing)
            if notice is not None:
                return notice
        before = self.app.understanding.state
        decision = self.app.pipeline.turn(Utterance(text))
        if decision.intent == "unknown" and self.app.reader is not None:
            decision = await self._helped(self.app.reader, text, ask, decision)
        if (noted := of_the_notes(decision, text)) is not None:
            decision, self.app.understanding.state = noted, before
            self.app.understanding.note_decision(decision)
        return await self._remembered(text, decision, self._said(text, decision, ask))

    async def _said(self, text: str, decision: Decision, ask: Ask) -> Outcome:
        from lqmf.cli.spoken import about_doing, declines, without_command

        if declines(decision):
            return Outcome({"status": "notice", "text": "Nothing is done."}, "Nothing is done.")
        if told := about_doing(decision):
            return told
        left_out = self._tell_left_out(text, decision)
        module = registry.for_intent(decision.intent)
        outcome = await self._act(module, decision, ask) if module else without_command(decision, text)
        if left_out and isinstance(outcome.data, dict):
            outcome.data["not_used"] = left_out
        return outcome

    async def _helped(self, reader: Reader, text: str, ask: Ask, read: Decision) -> Decision:
        """The decision for a line that the rules left open, where a provider reads it and, if it changes anything, the
        user agrees; the rules' own otherwise."""
        from lqmf.cli.spoken import agreed

        reading = await reader.helped(text, self.app.understanding.lines[:-1], read)
        if reading is None or reading.decision is None:
            return read
        decision = reading.decision if await agreed(reading.decision, ask) else DECLINED
        self.app.understanding.note_decision(decision)
        return decision

    async def _remembered(self, text: str, decision: Decision, work: Awaitable[Outcome]) -> Outcome:
        """The outcome of a turn, which is recorded however it ends."""
        try:
            outcome = await work
        except LqmfError as error:
            self.app.memory.remember_turn("", text, decision, error.code)
            raise
        self.app.memory.remember_turn("", text, decision, "failed" if outcome.failed else "done")
        return outcome

    def _tell_left_out(self, text: str, decision: Decision) -> list[str]:
        """Say which parts of a wish are not used; returns them."""
        from lqmf.understanding.unused import unused

        left_out = list(unused(text, decision))
        if left_out:
            self.screen.notice(f"I did not use: {'; '.join(left_out)}.")
        return left_out

    async def _typed(self, module: ModuleType, decision: Decision, text: str, ask: Ask) -> Outcome:
        if not module.COMMAND.remembered:
            if module.COMMAND.needs_app and module.COMMAND.heard:  # "set it to debug" may follow
                self.app.understanding.hear(Utterance(text))
            return await self._act(module, decision, ask)
        self.app.pipeline.turn(Utterance(text), decision)
        return await self._remembered(text, decision, self._act(module, decision, ask))

    async def _act(self, module: ModuleType, decision: Decision, ask: Ask) -> Outcome:
        self.finished = self.finished or decision.intent == "exit"
        run = registry.operation(module)
        result = await run(self.app if module.COMMAND.needs_app else None, decision.request, ask)
        if decision.intent == "llm_switch" or (decision.intent == "config" and "value" in decision.slots):
            self._renew()
        before, self._results[module.COMMAND.name] = self._results.get(module.COMMAND.name), result
        following = before if decision.reason != TYPED else None
        return self._closed(_told(module, result, following))

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

    def expect_unknowing_line(self) -> None:
        """Let a yes in the next line, which was typed before anything was proposed, accept nothing."""
        self._unknowing = self._proposed()

    def _renew(self) -> None:
        """A setting changed: the next turn has an App that knows it, and the same dialogue."""
        before, self._app = self.app, None
        self.app.understanding.state = before.understanding.state
        self.app.understanding.lines = before.understanding.lines
        before.close()


def _told(module: ModuleType, result: Result, before: Result | None = None) -> Outcome:
    """What an operation gave back, as its command shows it; of one that follows `before` in a dialogue, where the
    command has a view for that (`follow`), what is new."""
    data = Lines(result.document) if result.streamed else result.document
    follow = getattr(module, "follow", None)
    view = follow(before, result) if follow and before is not None else None
    return Outcome(data, view or module.view(result), 0 if result.ok else 1, result.proposal)


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
    words = words[1:] if words[:1] == ["lqmf"] and len(words) > 1 else words
    return without_slash(words)


def without_slash(words: list[str]) -> list[str]:
    """Words whose first may be a command as other chats spell it: "/help"."""
    if words and words[0].startswith("/") and registry.exists(words[0][1:]):
        return [words[0][1:], *words[1:]]
    return words


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
    artifacts = [artifact.name.lower() for artifact in session.app.shelf.artifacts()]
    return all(is_path(name) or any(name.lower() in artifact for artifact in artifacts) for name in names)


def is_path(word: str) -> bool:
    """Whether a word is meant as a path or an address, by its looks."""
    return word.startswith(("./", "../", "/", "~", "http://", "https://")) or word.endswith(".gguf")


def named(decision: Decision, slots: tuple[str, ...]) -> list[str]:
    """The words that stand where a command has a name."""
    values = [decision.slots[key] for key in slots if decision.slots.get(key) is not None]
    return [str(word) for value in values for word in (value if isinstance(value, list | tuple) else [value])]
