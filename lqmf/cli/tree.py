"""The tree of commands for typer: a group that imports a command's file when that command is asked for.

Turns words into an Invocation and runs nothing: every command's typer function only returns a Decision.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from lqmf.cli import options, registry
from lqmf.cli.command import Command
from lqmf.cli.invocation import Invocation
from lqmf.records import Decision

MARKUP = None  # help texts are plain: nothing in them is markup
PROGRAM = "lqmf"
AS_SENTENCE = "sentence"
HELP = """Local Quantized Model Factory: one sentence in, a measured quantized language model out.

Without a command: the chat. With a sentence: one turn of it. A line typed in the chat is read the same way."""
EXAMPLES = (
    "lqmf",
    "lqmf demo",
    'lqmf "quantize mistral 7b to 4 bits for an 8 GB GPU"',
    "lqmf quantize org/name --type Q4_K_M --yes",
    "lqmf plan org/name --memory 8GB --json",
)


class LazyGroup(TyperGroup):
    """The root: its commands are files, imported one at a time; words that name none are a sentence."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command in the order of the help."""
        return registry.names()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command; only its own file is imported."""
        return leaf(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names, or else the one that takes a sentence."""
        if ctx.obj == AS_SENTENCE or self.get_command(ctx, args[0]) is None:
            return AS_SENTENCE, _sentence_command(), args
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Commands under their headings, each with its summary."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for command in commands():
            panels.setdefault(command.panel, []).append((command.name, command.summary))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


def commands() -> list[Command]:
    """Every command, in the order of the help. Imports them all."""
    return [module.COMMAND for name in registry.names() if (module := registry.load(name))]


@functools.cache
def root() -> LazyGroup:
    """The root command, with the options that stand before a command or make one up."""
    app = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
    app.callback(
        cls=LazyGroup, invoke_without_command=True, help=HELP, epilog=_epilog(EXAMPLES), context_settings=_SETTINGS
    )(_root)
    app.command("none")(lambda: None)
    group = cast(LazyGroup, typer.main.get_command(app))
    group.params += common_params()
    return group


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_kept = functools.partial(typer.Option, callback=options.remember)


def _root(
    command: Annotated[
        str | None, _kept("--command", "-c", metavar="SENTENCE", help="Carry out one sentence, then leave.")
    ] = None,
    version: Annotated[bool, _kept("--version", "-V", help="Print the version, then leave.")] = False,
) -> None:
    """The options that only the program itself takes."""


def _sentence(words: list[str]) -> Decision:
    """One turn of the chat."""
    return Decision(AS_SENTENCE, {"text": " ".join(words)})


@functools.cache
def _sentence_command() -> TyperCommand | TyperGroup:
    return build(AS_SENTENCE, Command(AS_SENTENCE, "one turn of the chat", examples=(EXAMPLES[2],)), _sentence)


def common_params() -> list[Any]:
    """The common options as click parameters that no command's function has to take."""
    app = typer.Typer(add_completion=False)
    app.command()(options.common)
    params = cast(TyperCommand, typer.main.get_command(app)).params
    for param in params:
        param.expose_value = False
    return params


@functools.cache
def leaf(name: str) -> TyperCommand | TyperGroup | None:
    """The click command of one command file, with its examples and the common options."""
    module = registry.load(name)
    return build(name, module.COMMAND, module.cli) if module else None


def build(name: str, command: Command, cli: Any) -> TyperCommand | TyperGroup:
    """A typer function, or a typer app, as a click command."""
    if isinstance(cli, typer.Typer):
        app = cli
    else:
        app = typer.Typer()
        app.command()(cli)
    app._add_completion = False
    app.rich_markup_mode = MARKUP
    built = cast("TyperCommand | TyperGroup", typer.main.get_command(app))
    built.name, built.short_help = name, command.summary
    _dress(built, command, command.examples)
    return built


def _dress(built: Any, command: Command, examples: Sequence[str]) -> None:
    built.help = built.help or command.summary
    built.epilog = _epilog(examples)
    built.params = [*built.params, *_common(built)]
    built.context_settings = _SETTINGS
    for name, child in getattr(built, "commands", {}).items():
        own = [line for line in command.examples if name in line.split()]
        _dress(child, command, own or examples)


def _common(built: Any) -> list[Any]:
    """The common options. A command that --force answers shows no --yes, which is no answer to its question."""
    params = common_params()
    if any(param.name == "force" for param in built.params):
        for param in params:
            param.hidden = param.hidden or param.name == "yes"
    return params


def _epilog(examples: Sequence[str]) -> str:
    return "Examples:\n\n\b\n" + "\n".join(f"  {line}" for line in examples)


def learn_shells() -> None:
    """Let typer register the shells that it can complete in, which it does for an app with completion options."""
    app = typer.Typer(add_completion=True)
    app.command()(options.common)
    typer.main.get_command(app)


def help_text(name: str) -> str:
    """One command's help, as `--help` prints it."""
    command = leaf(name)
    if command is None:
        return ""
    with root().make_context(PROGRAM, [], resilient_parsing=True) as parent:
        return command.get_help(command.context_class(command, info_name=name, parent=parent))


def read(words: Sequence[str], *, as_sentence: bool = False) -> Invocation:
    """The Invocation that `words` are. Raises typer's own errors; prints the help and raises Exit where asked to."""
    with root().make_context(PROGRAM, list(words), obj=AS_SENTENCE if as_sentence else None) as context:
        decision = root().invoke(context)
        name, given = context.invoked_subcommand, options.given(context.meta)
    if not isinstance(decision, Decision):
        return Invocation(options=given)
    if name == AS_SENTENCE:
        return Invocation(sentence=decision.slots["text"], options=given)
    return Invocation(registry.load(cast(str, name)), decision, options=given)
