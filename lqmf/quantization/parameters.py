"""The settings that one backend has and others lack: how they are declared, read from text, and checked.

A backend lists its own in `parameters`; `--set NAME=VALUE` gives them, and a plan holds all of them. Pure; knows no
backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.errors import UsageError

Value = bool | int | float | str | tuple[str, ...]

_SWITCHES: Mapping[str, bool] = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


@dataclass(frozen=True)
class Parameter:
    """One setting. The type of `default` is its type; a tuple is a list of words. `choices` are the only values that it
    may have (empty: any), `low` and `high` its bounds, both included; `types` are the backend's types that have this
    setting (empty: all of them)."""

    name: str
    default: Value
    summary: str
    choices: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    types: tuple[str, ...] = ()


def settled(
    known: Mapping[str, Parameter], said: Mapping[str, Any], type: str = "", *, title: str = "This method"
) -> dict[str, Value]:
    """Return the value of each of the `known` parameters that `type` has: the value in `said`, as text or in the
    parameter's own type, else the default. Raises UsageError for an unknown name and for a value that the parameter
    cannot have."""
    own = {name: one for name, one in known.items() if not one.types or type in one.types}
    for name in said.keys() - own.keys():
        raise _unknown(name, own, type if name in known else "", title)
    return {name: _value(one, said[name]) if name in said else one.default for name, one in own.items()}


def pairs(said: Sequence[str]) -> dict[str, str]:
    """Return the values of `NAME=VALUE` texts by name, "-" in a name read as "_". Raises UsageError for a text of
    another form, or a name that is set twice."""
    found: dict[str, str] = {}
    for text in said:
        name, sign, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name or name in found:
            problem = f"'{name}' is set twice." if name in found else f"'{text}' is no setting."
            raise UsageError(problem, "Write each once, like `--set group_size=64`.")
        found[name] = value.strip()
    return found


def _unknown(name: str, own: Mapping[str, Parameter], type: str, title: str) -> UsageError:
    whose = f"{type} of {title}" if type else title
    remedy = f"It has: {', '.join(own)}." if own else "Leave it out: there is nothing to set."
    return UsageError(f"{whose} has no parameter '{name}'.", remedy)


def _value(one: Parameter, said: Any) -> Value:
    try:
        found = _read(one.default, said)
    except ValueError as error:
        raise _wrong(one, said) from error
    if one.choices and found not in one.choices:
        raise _wrong(one, said)
    if isinstance(found, int | float) and not isinstance(found, bool) and not _within(one, found):
        raise _wrong(one, said)
    return found


def _read(default: Value, said: Any) -> Value:
    """`said` as the type of `default`. Raises ValueError."""
    text = str(said).strip()
    if isinstance(default, tuple):
        words = said if isinstance(said, list | tuple) else text.split(",")
        return tuple(str(word).strip() for word in words if str(word).strip())
    if isinstance(default, bool):
        if text.lower() not in _SWITCHES:
            raise ValueError(text)
        return _SWITCHES[text.lower()]
    return type(default)(text)


def _within(one: Parameter, found: float) -> bool:
    return (one.low is None or found >= one.low) and (one.high is None or found <= one.high)


def _wrong(one: Parameter, said: Any) -> UsageError:
    if one.choices:
        remedy = f"It may be {', '.join(map(str, one.choices))}."
    elif isinstance(one.default, bool):
        remedy = "It is true or false."
    else:
        bounds = [
            f"from {one.low:g}" if one.low is not None else "",
            f"to {one.high:g}" if one.high is not None else "",
        ]
        kind = {int: "a whole number", float: "a number"}.get(type(one.default), "a word")
        remedy = f"It is {' '.join([kind, *filter(None, bounds)])}; left out, {one.default}."
    return UsageError(f"{one.name} cannot be '{said}'.", remedy)
