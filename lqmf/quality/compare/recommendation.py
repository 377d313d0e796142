"""Writes the recommendation of a comparison: one sentence or two, put together from its figures by rules. Pure.

The sentence claims only differences that the comparison calls different; where there is none, it says so and goes by
size. Quality is the KL divergence from the source.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.quality.compare.significance import by_error
from lqmf.units import file_size

_FRACTIONS = (
    (1 / 2, "half as much"), (1 / 3, "a third as much"), (1 / 4, "a quarter as much"), (2 / 3, "two thirds as much"),
    (3 / 4, "three quarters as much"), (1 / 5, "a fifth as much"), (1 / 10, "a tenth as much"),
    (1 / 20, "a twentieth as much"),
)  # fmt: skip
_NEAR = 0.08  # how far a ratio may be from a fraction that is said in its place
_SPEED_WORTH_SAYING = 1.05


@dataclass(frozen=True)
class _One:
    """The facts of one artifact: its short name, bytes, and loss in nats a token with its standard error."""

    index: int
    label: str
    size: float
    loss: float | None
    error: float | None  # of the loss


def recommend(document: Mapping[str, Any], *, same_model: bool = True) -> str:
    """Return the recommendation for a comparison's document, with a warning that names artifacts that failed their
    gate. `same_model` says whether all come from one source."""
    ones = _ones(document)
    failed = [one.label for one in ones if document["artifacts"][one.index].get("gate_passed") is False]
    warning = f" Mind that {_and(failed)} failed {'its gate' if len(failed) == 1 else 'their gates'}." if failed else ""
    return _weighed(document, ones, same_model) + warning


def _weighed(document: Mapping[str, Any], ones: Sequence[_One], same_model: bool) -> str:
    by_size = sorted(ones, key=lambda one: one.size)
    if not same_model:
        return _different_models(by_size)
    if missing := [one.label for one in ones if one.loss is None]:
        return f"What {_and(missing)} lost is not measured: test first, then compare. {_smallest(by_size)}"
    row = _row(document, "kl_divergence")
    if row["verdict"] is None:
        return f"Nothing tells their losses apart here: test them again, alike. {_smallest(by_size)}"
    return _two(document, by_size, row) if len(ones) == 2 else _several(by_size, row)


def _ones(document: Mapping[str, Any]) -> list[_One]:
    labels = _labels(document["artifacts"])
    sizes, losses = _row(document, "size_bytes")["values"], _row(document, "kl_divergence")
    return [_One(i, label, sizes[i], losses["values"][i], losses["errors"][i]) for i, label in enumerate(labels)]


def _labels(artifacts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The types, where they differ and all artifacts come from one model; else the names."""
    types = [str(a["type"] or f"{a['method']} {a['bits']} bit") for a in artifacts]
    distinct = len(set(types)) == len(types) and len({a["model"] for a in artifacts}) == 1
    return types if distinct else [str(a["name"]) for a in artifacts]


def _row(document: Mapping[str, Any], id: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(row for row in document["rows"] if row["id"] == id)
    return found


# ---------------------------------------------------------------- what cannot be weighed


def _different_models(by_size: Sequence[_One]) -> str:
    return f"They come from different models, so what each lost says nothing of which is better. {_smallest(by_size)}"


def _smallest(by_size: Sequence[_One]) -> str:
    small, large = by_size[0], by_size[-1]
    if small.size == large.size:
        return "They are of the same size."
    if len(by_size) == 2:
        return f"{small.label} is {file_size(large.size - small.size)} smaller."
    return f"{small.label} is the smallest."


# ---------------------------------------------------------------- two


def _two(document: Mapping[str, Any], by_size: Sequence[_One], row: Mapping[str, Any]) -> str:
    small, large = by_size
    spare = file_size(large.size - small.size)
    speed = _faster(document, small, large)
    if row["verdict"] == "same":
        return _alike(small, large, spare, speed)
    better, worse = (small, large) if row["best"] == [small.index] else (large, small)
    loses = f"{better.label} loses {_fraction(better, worse)}"
    if small.size == large.size:
        return f"{loses} at the same size{_and_speed(speed, better)}; take {better.label}."
    if better is small:
        return f"{loses} and is {spare} smaller{_and_speed(speed, better)}; take {better.label}."
    return f"{loses} for {spare} more{_and_speed(speed, better)}; take it if it fits your memory."


def _alike(small: _One, large: _One, spare: str, speed: tuple[int, float] | None) -> str:
    alike = f"{small.label} and {large.label} lose the same, as far as can be told"
    if small.size != large.size:
        return f"{alike}; take {small.label}, it is {spare} smaller{_and_speed(speed, small)}."
    if speed is None:
        return f"{alike}, and are of the same size: take either."
    fast = small if speed[0] == small.index else large
    return f"{alike}, and are of the same size; take {fast.label}, which writes {speed[1]:.1f} times as fast."


def _fraction(better: _One, worse: _One) -> str:
    """The loss of `better` as a share of that of `worse`, in words: "half as much as Q4_K_M"."""
    if not better.loss or not worse.loss:
        return f"nothing that could be measured, unlike {worse.label},"
    share = better.loss / worse.loss
    near = min(_FRACTIONS, key=lambda fraction: abs(share / fraction[0] - 1))
    if abs(share / near[0] - 1) <= _NEAR:
        return f"{near[1]} as {worse.label}"
    if share < 0.01:
        return f"{share:.1%} of what {worse.label} does"
    return f"{share:.0%} of what {worse.label} does" if share < 0.5 else f"{1 - share:.0%} less than {worse.label}"


def _faster(document: Mapping[str, Any], *ones: _One) -> tuple[int, float] | None:
    """(Index of the artifact that writes faster, how many times as fast), where speeds were tested and differ."""
    for row in document["rows"]:
        writing = row["id"].startswith("speed.writing.1.") and row["verdict"] == "different"
        if writing and len(row["best"]) == 1:
            fast = row["best"][0]
            slow = next(one.index for one in ones if one.index != fast)
            times = row["values"][fast] / row["values"][slow]
            return (fast, times) if times >= _SPEED_WORTH_SAYING else None
    return None


def _and_speed(speed: tuple[int, float] | None, one: _One) -> str:
    """The words about speed in a sentence about `one`."""
    if speed is None:
        return ""
    fast, times = speed
    if fast == one.index:
        return f", and writes {times:.1f} times as fast"
    return f", though the other writes {times:.1f} times as fast"


# ---------------------------------------------------------------- several


def _several(by_size: Sequence[_One], row: Mapping[str, Any]) -> str:
    """The words on the smallest artifact, the one that loses least, and those that another beats in both size and
    loss."""
    small = by_size[0]
    if row["verdict"] == "same":
        return f"They lose the same, as far as can be told; take {small.label}, the smallest."
    least = next(one for one in by_size if one.index in row["best"])  # of those that lose least, the smallest
    if least is small:
        return f"{least.label} loses least and is the smallest; take it."
    spare = file_size(least.size - small.size)
    said = f"{least.label} loses least: {_fraction(least, small)}, for {spare} more; {small.label} is the smallest."
    beaten = {one.label: by.label for one in by_size if (by := _beating(one, by_size)) is not None}
    if not beaten:
        return said
    by_whom = dict.fromkeys(beaten.values())
    return (
        f"{said} Leave {_and(list(beaten))}: {_and(list(by_whom))} {_does(by_whom)} smaller and {_lose(by_whom)} less."
    )


def _beating(one: _One, others: Sequence[_One]) -> _One | None:
    """The smallest artifact that is smaller than `one` and loses less, by more than chance."""
    return next((other for other in others if other.size < one.size and _loses_less(other, one)), None)


def _loses_less(other: _One, one: _One) -> bool:
    if other.loss is None or one.loss is None or other.loss >= one.loss:
        return False
    return bool(by_error(other.loss, other.error, one.loss, one.error))


def _does(many: Collection[str]) -> str:
    return "is" if len(many) == 1 else "are"


def _lose(many: Collection[str]) -> str:
    return "loses" if len(many) == 1 else "lose"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
