"""The reference of LQMF, written from the code itself: commands from the tree, settings from their declaration, methods
from their backends. A test compares it with what is committed. Prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lqmf import settings as known
from lqmf import workspace
from lqmf.artifacts import manifest_schema
from lqmf.artifacts.card.markdown import table, text
from lqmf.cli import registry, tree
from lqmf.quality.measures import MEASURES

if TYPE_CHECKING:
    from lqmf.quantization.parameters import Parameter
    from lqmf.quantization.promise import Backend

FORMATS = {"gguf": "GGUF", "safetensors": "safetensors"}
FIRST = "Written by `lqmf docs --project` from the code; change that, not this."


def pages(backends: Mapping[str, Backend]) -> dict[str, str]:
    """The reference's files by name."""
    schema = workspace.json_text(manifest_schema.schema())
    made = {"commands.md": commands(), "settings.md": settings(), "methods.md": methods(backends)}
    return {**made, "measures.md": measures(), "manifest.schema.json": schema}


def _page(title: str, parts: Iterator[str]) -> str:
    return "\n\n".join([f"# {title}", FIRST, *parts]) + "\n"


# ---------------------------------------------------------------- commands


def commands() -> str:
    """Every command that LQMF brings, its arguments, options and examples; then the options that all of them take."""
    return _page("Commands", _commands())


def _commands() -> Iterator[str]:
    brought = [command for command in tree.commands() if command.name in registry.builtin_names()]
    yield table(
        ("Command", "Does"),
        [(f"[`lqmf {one.name}`](#lqmf-{one.name})", text(one.summary)) for one in brought],
    )
    for one in brought:
        built = tree.leaf(one.name)
        yield from _command(f"lqmf {one.name}", built, one.examples)
    yield "## Options of every command"
    yield _options(tree.common_params())


def _command(name: str, built: Any, examples: tuple[str, ...]) -> Iterator[str]:
    yield f"## {name}"
    yield " ".join(str(built.help or "").split())
    yield from _usage(name, built)
    for sub, child in getattr(built, "commands", {}).items():
        yield f"### {name} {sub}"
        yield " ".join(str(child.help or "").split())
        yield from _usage(f"{name} {sub}", child)
    yield "\n".join(["```sh", *examples, "```"])


def _usage(name: str, built: Any) -> Iterator[str]:
    common = {param.name for param in tree.common_params()}
    own = [param for param in built.params if param.name not in common and not getattr(param, "hidden", False)]
    arguments = [param for param in own if param.param_type_name == "argument"]
    if not getattr(built, "commands", None):
        words = [_argument(param) for param in arguments]
        yield f"`{' '.join([name, *words, '[OPTIONS]'])}`"
    if own:
        yield _options(own)


def _argument(param: Any) -> str:
    name = str(param.metavar or param.name).upper()
    return name if param.required else f"[{name}]"


def _options(params: list[Any]) -> str:
    rows = [(f"`{_spelled(param)}`", text(str(param.help or ""))) for param in params if not _hidden(param)]
    return table(("Option", "Says"), rows)


def _hidden(param: Any) -> bool:
    return bool(getattr(param, "hidden", False))


def _spelled(param: Any) -> str:
    """An option as it is typed, with what it takes; an argument by its name."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name).upper()
    names = ", ".join(param.opts) + (f" / {', '.join(param.secondary_opts)}" if param.secondary_opts else "")
    return names if param.is_flag else f"{names} {_takes(param)}"


def _takes(param: Any) -> str:
    kind = param.type_descriptor
    if kind.is_choice and kind.choices:
        return "/".join(map(str, kind.choices))
    return str(param.metavar or param.bare_type().upper())


# ---------------------------------------------------------------- settings and methods


def settings() -> str:
    """Every setting with its default."""
    return _page("Settings", _settings())


def _settings() -> Iterator[str]:
    yield (
        "In rising order from `config.json`, `.env`, the environment (the same names in capitals) and options. "
        "`lqmf config get` shows each with where it came from. Secrets belong in `.env` or the environment."
    )
    fields = {name: known.model().model_fields[name] for name in known.keys()}  # noqa: SIM118 - keys of settings
    rows = [
        (f"`{name}`", _default(name, field.default), text(str(field.description))) for name, field in fields.items()
    ]
    yield table(("Setting", "Default", "Is"), rows)


def _default(name: str, value: Any) -> str:
    if name in known.secrets():
        return "secret"
    if isinstance(value, bool):
        return "true" if value else "false"
    shown = ", ".join(map(str, value)) if isinstance(value, tuple) else "none" if value is None else str(value)
    return f"`{shown}`" if shown else "empty"


def methods(backends: Mapping[str, Backend]) -> str:
    """Every quantization method, its types and its own settings."""
    return _page("Methods", _methods(backends))


def _methods(backends: Mapping[str, Backend]) -> Iterator[str]:
    for name, backend in backends.items():
        yield f"## {name}"
        form = FORMATS.get(backend.output_format, backend.output_format)
        yield f"{text(backend.title)}: `--method {name}` makes {form} files."
        head = ("Type", "Bits", "Bits per weight", "Importance matrix", "Is")
        yield table(head, [_type(one) for one in backend.types.values()], right=(1, 2))
        if backend.parameters:
            rows = [_parameter(one) for one in backend.parameters.values()]
            yield table(("`--set`", "Default", "May be", "Of", "Is"), rows)


def _type(one: Any) -> tuple[str, ...]:
    return (
        f"`{one.name}`",
        str(one.bits),
        f"{one.bits_per_weight:.2f}" if one.bits_per_weight else "",
        "needed" if one.needs_imatrix else "",
        text(one.summary),
    )


KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", tuple: "words, with commas"}


def _parameter(one: Parameter) -> tuple[str, ...]:
    if one.choices:
        allowed = ", ".join(map(str, one.choices))
    else:
        bounds = (
            f"from {one.low:g}" if one.low is not None else "",
            f"to {one.high:g}" if one.high is not None else "",
        )
        allowed = " ".join(filter(None, bounds)) or KINDS[type(one.default)]
    return f"`{one.name}`", _default(one.name, one.default), allowed, ", ".join(one.types) or "all", text(one.summary)


# ---------------------------------------------------------------- measures


def measures() -> str:
    """Return the page of a receipt's figures: what each is, where the JSON holds it, and which way is better."""
    return _page("Measures", _measures())


def _measures() -> Iterator[str]:
    yield (
        "`receipt.json`, and the `receipt` of every JSON answer, hold each figure at this path; one that was not "
        "measured is null there, and `reasons` says why. A row of `lqmf compare --json` has the measure's name as its "
        "`id`. The size of the files and the compression are fields of the artifact."
    )
    rows = [
        (f"`{one.id}`", text(one.label), f"`{'.'.join(one.path)}`", one.unit, one.better or "", text(one.about))
        for one in MEASURES
    ]
    yield table(("Measure", "Shown as", "Path", "Unit", "Better", "Is"), rows)
