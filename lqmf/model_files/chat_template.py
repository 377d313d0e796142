"""Renders messages to a prompt through a model's own chat template. Templates are Jinja and come from strangers, so
they run in a sandbox.

The environment is the one that templates are written for, that of transformers' `apply_chat_template`: trim_blocks,
lstrip_blocks, loop controls, `raise_exception`, `strftime_now`, a `tojson` that escapes neither HTML nor non-ASCII
characters, the `generation` tag. Knows no model and no engine.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lqmf.errors import UsageError

if TYPE_CHECKING:
    from jinja2 import Environment


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    bos: str = "",
    eos: str = "",
    add_generation_prompt: bool = True,
    tools: Sequence[Mapping[str, Any]] | None = None,
    now: str | None = None,
) -> str:
    """Return `messages` as one prompt, with the `tools` (JSON schemas of functions) that the model may call. `now` is
    the time for a template that asks for it (ISO 8601; None: the present). Raises UsageError if the template refuses
    the messages or is broken."""
    from jinja2 import TemplateError

    time = datetime.datetime.fromisoformat(now) if now else datetime.datetime.now()
    variables: dict[str, Any] = {"messages": [dict(m) for m in messages], "tools": tools}
    variables |= {"bos_token": bos, "eos_token": eos, "strftime_now": time.strftime}
    try:
        compiled = _environment().from_string(template)
        return str(compiled.render(**variables, add_generation_prompt=add_generation_prompt))
    except _Refused as refusal:
        raise UsageError(f"The model's chat template refuses these messages: {refusal}", _PLAIN) from refusal
    except (TemplateError, *_OF_EXPRESSIONS) as error:
        raise UsageError(f"The model's chat template fails: {error}", _PLAIN) from error


# what Python itself raises inside a template's expressions: 1 / 0, range(10**9), none.attribute, endless macros
_OF_EXPRESSIONS = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError)
_PLAIN = "Give a plain prompt instead of messages, or start with the role 'user' and alternate."


class _Refused(Exception):
    """The template itself called raise_exception."""


def _refuse(message: str) -> None:
    raise _Refused(message)


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The `generation` tag, which marks the assistant's text for training; here the text inside is simply kept."""

        tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=_refuse)
    return environment
