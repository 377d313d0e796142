"""What the command line is made of: options that every command takes, and how a command's options become slots.

Knows typer; knows no command.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lqmf.declared import methods
from lqmf.errors import LqmfError
from lqmf.records import TYPED, Decision
from lqmf.understanding.slot_table import BY_NAME, Slot, chats, method_name, of_intent, settled

COMMON = "Common options"
MOST_ROWS = 1_000_000
META = "lqmf."  # where given common options are kept in a context's meta


def remember(context: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """Keep a common option's value in the context, wherever on the line it stood."""
    if value and param.name:
        context.meta[META + param.name] = value
    return value


def _option(*names: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=COMMON, callback=remember)


def common(
    json: Annotated[bool, _option("--json", help="Print one JSON document on stdout.")] = False,
    yes: Annotated[bool, _option("--yes", "-y", help="Take the recommended answers to a plan's questions.")] = False,
    workspace: Annotated[
        str | None, _option("--workspace", metavar="DIR", help="Where models and results lie.")
    ] = None,
    storage_backend: Annotated[
        str | None, _option("--storage-backend", metavar="KIND", help="Where records are kept: sqlite or json.")
    ] = None,
    llm_provider: Annotated[
        str | None,
        _option("--llm-provider", metavar="NAME", help="Who may advise: claude, openai, gemini, local, none."),
    ] = None,
    no_color: Annotated[bool, _option("--no-color", help="No colours.")] = False,
    verbose: Annotated[bool, _option("--verbose", help="Show the traceback of an unexpected fault.")] = False,
) -> None:
    """The options that may stand before or after any command; `tree` gives them to each."""


def typed(intent: str, **slots: Any) -> Decision:
    """The Decision of a typed command: its slots are the options that were given."""
    return Decision(intent, {k: v for k, v in slots.items() if v is not None}, 1.0, TYPED)


def parsed(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """`convert` as an option's parser: an LqmfError becomes the option's own error."""

    def parse(text: str) -> Any:
        try:
            return convert(text)
        except LqmfError as error:
            raise typer.BadParameter(f"{error.message} {error.remedy}") from error

    return parse


def given(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The common options that were given, by name."""
    return {key.removeprefix(META): value for key, value in meta.items() if key.startswith(META)}


# ---------------------------------------------------------------- completion in shells


def artifact_names(incomplete: str) -> list[str]:
    """Names of artifacts that begin so."""
    from lqmf.app import App

    app = App.create(None, {}, Path.cwd(), os.environ)
    try:
        return [artifact.name for artifact in app.shelf.artifacts() if artifact.name.startswith(incomplete)]
    except LqmfError:
        return []


def method_names(incomplete: str) -> list[str]:
    """Methods that begin so."""
    return [name for name in methods.offered() if name.startswith(incomplete)]


def type_names(incomplete: str) -> list[str]:
    """Types that begin so, in the case of letters in which the word was begun."""
    from lqmf.quantization import registry

    known = registry.type_names()
    spelled = known if incomplete.upper() == incomplete else [name.lower() for name in known]
    return [name for name in spelled if name.startswith(incomplete)]


# ---------------------------------------------------------------- what several commands take

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="An artifact: its name, a part of it, or a path.", autocompletion=artifact_names
    ),
]
RequiredName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="An artifact: its name, a part of it, or a path.", autocompletion=artifact_names
    ),
]
Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="Artifacts: names or parts of them.", autocompletion=artifact_names),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help=BY_NAME["method"].help,
        parser=parsed(method_name),
        autocompletion=method_names,
    ),
]
ServedModel = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Of an address: the model's name there."),
]
Device = Annotated[Literal["cpu", "gpu"] | None, typer.Option("--device", help=BY_NAME["device"].help)]
Parallel = Annotated[
    int | None, typer.Option("--parallel", metavar="N", help=BY_NAME["parallel"].help, parser=parsed(chats))
]


# ---------------------------------------------------------------- a request's options, from the table of slots

COMPLETION = {"method": method_names, "type": type_names}


def of_request(intent: str, *, model_required: bool = True) -> Callable[[Callable[[Decision], Decision]], Any]:
    """Give a command the options that requests of `intent` have, from the table of slots. The decorated function is
    handed the Decision that they come to; its docstring is the command's help."""

    def give(function: Callable[[Decision], Decision]) -> Any:
        def command(**values: Any) -> Decision:
            return function(Decision(intent, settled(values), 1.0, TYPED))

        slots = of_intent(intent)
        empty = [inspect.Parameter.empty if slot.name == "model" and model_required else None for slot in slots]
        hints = {slot.name: _annotation(slot) for slot in slots}
        command.__doc__, command.__name__ = function.__doc__, function.__name__
        command.__annotations__ = {**hints, "return": Decision}
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(
                    slot.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[slot.name]
                )
                for slot, default in sorted(zip(slots, empty, strict=True), key=lambda pair: pair[1] is None)
            ],
            return_annotation=Decision,
        )
        return command

    return give


def _annotation(slot: Slot) -> Any:
    """Return what typer makes an option or an argument of."""
    if not slot.flag:
        return Annotated[str | None, typer.Argument(metavar=slot.metavar, help=slot.help)]
    flag = f"{slot.flag}/--no-{slot.flag.removeprefix('--')}" if slot.negative else slot.flag
    more: dict[str, Any] = {"metavar": slot.metavar} if slot.metavar else {}
    if slot.read is not None:
        more["parser"] = parsed(slot.read)
    if slot.name in COMPLETION:
        more["autocompletion"] = COMPLETION[slot.name]
    option = typer.Option(flag, help=slot.help, **more)
    if slot.choices:
        return Annotated[Literal[slot.choices] | None, option]
    return Annotated[(list[str] if slot.repeated else slot.kind) | None, option]
