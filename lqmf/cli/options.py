"""What the command line is made of: options that every command takes, and how a command's options become slots.

Knows typer; knows no command.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lqmf.declared import methods
from lqmf.errors import LqmfError, UsageError
from lqmf.fit.needs import CACHE_TYPES
from lqmf.records import TYPED, Decision
from lqmf.understanding.lexicon import MOST
from lqmf.units import GB, GIB, parse_file_size, parse_memory, parse_tokens, short

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


# ---------------------------------------------------------------- values


def type_name(text: str) -> str:
    """A type, or several with commas between, in its own spelling: Q4_K_M in capitals, nf4 in small letters. A mix may
    name its size: auto@4.2GB."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return ",".join(_spelled(part) for part in parts)


def _spelled(part: str) -> str:
    from lqmf.understanding.lexicon import type_name as known_type

    name, at, size = part.partition("@")
    if at and name.lower() == "auto":
        parse_file_size(size)
        return f"auto@{size}"
    return known_type(part) or (part.upper() if _GGUF_TYPE.match(part) else part.lower())


_GGUF_TYPE = re.compile(r"(?:I?Q\d|TQ\d|B?F16|F32|MXFP)", re.IGNORECASE)


def bits(text: str) -> float:
    """Bits a weight. Raises UsageError for what is no number from 1 to 32."""
    if not re.fullmatch(r"\d{1,2}(?:\.\d{1,6})?", text.strip()) or not 1 <= float(text) <= MOST["bits"]:
        raise UsageError(f"'{short(text)}' is no number of bits.", "Write a number from 1 to 32, like 4 or 4.25.")
    return float(text)


def method_name(text: str) -> str:
    """A quantization method by its name, those that others installed included. Raises UsageError."""
    from lqmf.quantization.registry import backends

    if (name := text.strip().lower()) not in backends():
        raise UsageError(f"'{text}' is not one of {', '.join(backends())}.")
    return name


def settings(said: Sequence[str] | None) -> dict[str, str] | None:
    """`--set NAME=VALUE`, several times, as a slot. Raises UsageError for what is no such pair."""
    from lqmf.quantization.parameters import pairs

    return pairs(said) if said else None


def memory_gb(text: str) -> float:
    """Memory in GiB, as cards are sold; a whole number where it is one."""
    return _plain(parse_memory(text) / GIB)


def cache_types(text: str) -> str:
    """The types of a KV cache: one for keys and values, or two with a slash between. Raises UsageError."""
    names = [part.strip().lower() for part in text.split("/")]
    if len(names) > 2 or any(name not in CACHE_TYPES for name in names):
        raise UsageError(f"'{text}' is no type of a KV cache.", f"Write one of {', '.join(CACHE_TYPES)}, or q8_0/q4_0.")
    return "/".join(dict.fromkeys(names))


def chats(text: str) -> int:
    """How many chats at once. Raises UsageError for what is no whole number from 1."""
    if not re.fullmatch(r"0*[1-9]\d{0,5}", text.strip()):
        raise UsageError(f"'{short(text)}' is no number of chats.", "Write a whole number, 1 or more.")
    return int(text)


def file_gb(text: str) -> float:
    """A file's size in GB, powers of 1000."""
    return _plain(parse_file_size(text) / GB)


def _plain(number: float) -> float:
    return int(number) if number == int(number) else round(number, 6)


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
    from lqmf.quantization.registry import backends

    known = [name for backend in backends().values() for name in backend.types]
    spelled = known if incomplete.upper() == incomplete else [name.lower() for name in known]
    return [name for name in spelled if name.startswith(incomplete)]


# ---------------------------------------------------------------- what several commands take

Model = Annotated[
    str | None, typer.Argument(metavar="MODEL", help="org/name[@revision], a folder, a familiar name, or demo.")
]
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
        help=f"How to quantize: {methods.names()}.",
        parser=parsed(method_name),
        autocompletion=method_names,
    ),
]
Type = Annotated[
    str | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="Q4_K_M, Q8_0, auto, auto@4.2GB, or several: Q4_K_M,Q8_0.",
        parser=parsed(type_name),
        autocompletion=type_names,
    ),
]
Bits = Annotated[
    float | None,
    typer.Option("--bits", metavar="N", help="Bits a weight; 4.25 gives a mix of types.", parser=parsed(bits)),
]
ServedModel = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Of an address: the model's name there."),
]
Device = Annotated[Literal["cpu", "gpu"] | None, typer.Option("--device", help="Where it will run.")]
Memory = Annotated[
    float | None,
    typer.Option("--memory", metavar="SIZE", help="Memory it must run in, like 8GB.", parser=parsed(memory_gb)),
]
Ram = Annotated[
    float | None,
    typer.Option("--ram", metavar="SIZE", help="RAM beside a GPU's memory, like 16GB.", parser=parsed(memory_gb)),
]
KvType = Annotated[
    str | None,
    typer.Option(
        "--kv-type",
        metavar="TYPE",
        help="Type of the KV cache: f16, q8_0, q4_0, or K/V apart: q8_0/q4_0.",
        parser=parsed(cache_types),
    ),
]
Parallel = Annotated[int | None, typer.Option("--parallel", metavar="N", help="Chats at once.", parser=parsed(chats))]
ContextLength = Annotated[
    int | None,
    typer.Option("--context", metavar="N", help="Tokens of context, like 4096 or 16k.", parser=parsed(parse_tokens)),
]
TargetSize = Annotated[
    float | None,
    typer.Option("--target-size", metavar="SIZE", help="The file's greatest size, like 4.2GB.", parser=parsed(file_gb)),
]
Priority = Annotated[Literal["quality", "speed", "size"] | None, typer.Option("--priority", help="What matters most.")]
Fallback = Annotated[
    bool | None,
    typer.Option("--cpu-fallback/--no-cpu-fallback", help="Go on with the CPU when the GPU's memory is full."),
]
Keep = Annotated[
    bool | None, typer.Option("--keep-16bit/--no-keep-16bit", help="Keep the 16-bit file made on the way.")
]
Imatrix = Annotated[
    bool | None,
    typer.Option("--imatrix/--no-imatrix", help="Whether an importance matrix guides it (left open: up to 4 bits)."),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        "--calibration", metavar="FILE", help="Text to calibrate on, or a finished importance matrix (.gguf)."
    ),
]
KeepTypes = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="NAME=TYPE", help="A mix leaves these tensors in this type, like output=Q8_0."),
]
DiscardSource = Annotated[
    bool | None,
    typer.Option(
        "--discard-source", help="Drop each downloaded file once it is read; nothing is left to compare with."
    ),
]
Adapter = Annotated[
    str | None, typer.Option("--adapter", metavar="DIR", help="A LoRA to merge into the weights on the way.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the method's own: group_size=64, desc_act=true (gptq); double_quant=false (bnb).",
    ),
]
Purpose = Annotated[
    Literal["finetune"] | None, typer.Option("--for", help="What it is for: decides the method, if left open.")
]
Test = Annotated[
    Literal["none", "quick", "comprehensive"] | None, typer.Option("--test", help="How well to measure it.")
]
