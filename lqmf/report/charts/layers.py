"""Draws the loss of each layer and kind of tensor as a heat map: KL of the model with that tensor alone as in the
artifact.

Draws only measurements of `lqmf report NAME --layers`; where there are none, the page names that command.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.quality.measures import as_mapping, as_number
from lqmf.report.parts import Cell, Chart, Column, Table, axis, heat_scale, layout, number, significant, told, word
from lqmf.report.subjects import Data, Subject
from lqmf.terminal import clean

TITLE = "Loss by layer and kind of tensor"
COLUMNS = (
    Column("tensor"),
    Column("layer", True),
    Column("kind"),
    Column("type"),
    Column("KL, this tensor alone", True),
    Column("measured with"),
)
MOST_NAMED = 6
MOST_WORDS = 14  # layers, up to which each field of the map names its type
_LAYER = re.compile(r"(?:^|\.)blk\.(\d+)\.(.+)$")
# in the order of the computation; what is not named here comes behind, by name
_ORDER = (
    "token_embd",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_qkv",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
    "output",
)


@dataclass(frozen=True)
class Tensor:
    """A tensor's loss: `layer` is None for a tensor before or after the layers; `group` tensors share the figure."""

    name: str
    layer: int | None
    kind: str
    type: str
    kl_nats: float
    group: int


def charts(data: Data) -> list[Chart]:
    """Return a map for each artifact measured by layer, then one chart without a figure that names all others."""
    drawn = [_chart(place, subject) for place, subject in enumerate(data.subjects) if tensors(subject)]
    missing = [subject for subject in data.subjects if not tensors(subject)]
    return drawn + ([_missing(missing)] if missing else [])


def tensors(subject: Subject) -> list[Tensor]:
    """Return the measured tensors of a subject, in the order of the file."""
    found = as_mapping(subject.layers).get("tensors")
    rows = [as_mapping(each) for each in found] if isinstance(found, list) else []
    return [made for row in rows if (made := _tensor(row))]


def _tensor(row: Mapping[str, Any]) -> Tensor | None:
    loss, name = as_number(row.get("kl_nats")), clean(str(row.get("name") or ""))
    if loss is None or not name:
        return None
    placed = _LAYER.search(name)
    kind = (placed[2] if placed else name).removesuffix(".weight")
    group = row.get("group")
    size = len(group) if isinstance(group, list) else 1
    return Tensor(name, int(placed[1]) if placed else None, kind, clean(str(row.get("type"))), loss, size)


def _missing(subjects: Sequence[Subject]) -> Chart:
    named = ", ".join(subject.label for subject in subjects)
    which = f"of {named}" if len(subjects) <= MOST_NAMED else f"of {len(subjects)} artifacts"
    return Chart("layers-missing", TITLE, "", missing=f"Not measured yet {which}.", remedy="lqmf report NAME --layers")


def _chart(place: int, subject: Subject) -> Chart:
    found = tensors(subject)
    kinds = sorted({each.kind for each in found}, key=_order)
    columns: list[int | None] = [*sorted({each.layer for each in found if each.layer is not None})]
    if any(each.layer is None for each in found):
        columns.append(None)
    at = {(each.kind, each.layer): each for each in found}
    grid = [[at.get((kind, layer)) for layer in columns] for kind in kinds]
    title = f"{TITLE}: {subject.name}"
    figure = {"data": [_map(grid, kinds, columns)], "layout": _layout(kinds, columns, found)}
    table = Table(title, COLUMNS, [_row(each) for each in found])
    return Chart(
        f"layers-{place}", title, _summary(subject, found), figure, table, _notes(subject), height=130 + 38 * len(kinds)
    )


def _order(kind: str) -> tuple[int, str]:
    place = next((i for i, known in enumerate(_ORDER) if kind == known or kind.startswith(f"{known}_")), len(_ORDER))
    return place, kind


def _map(
    grid: Sequence[Sequence[Tensor | None]], kinds: Sequence[str], columns: Sequence[int | None]
) -> dict[str, Any]:
    values = [each.kl_nats for row in grid for each in row if each and each.kl_nats > 0]
    least, most = (min(values), max(values)) if values else (1e-9, 1e-8)
    ticks = [least, math.sqrt(least * most), most]
    return {
        "type": "heatmap",
        "z": [[_shade(each, least) for each in row] for row in grid],
        "x": [("ends" if layer is None else str(layer)) for layer in columns],
        "y": [told(kind) for kind in kinds],
        "hovertext": [[_hover(each) for each in row] for row in grid],
        "hoverinfo": "text",
        "text": [[told(each.type) if each else "" for each in row] for row in grid],
        "texttemplate": "%{text}" if len(columns) <= MOST_WORDS else "",
        "textfont": {"size": 10},
        "xgap": 2,
        "ygap": 2,
        "zmin": math.log10(least),
        "zmax": max(math.log10(most), math.log10(least) + 0.01),
        "colorscale": heat_scale(),
        "colorbar": {
            "title": {"text": "KL, nats", "side": "top"},
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "thickness": 12,
            "len": 0.7,
            "outlinewidth": 0,
            "tickvals": [math.log10(tick) for tick in ticks],
            "ticktext": [significant(tick, 2) for tick in ticks],
        },
    }


def _shade(tensor: Tensor | None, least: float) -> float | None:
    """The logarithm of a tensor's loss: losses span orders of magnitude. A loss of zero has the least colour."""
    return None if tensor is None else math.log10(max(tensor.kl_nats, least))


def _hover(tensor: Tensor | None) -> str:
    if tensor is None:
        return "not quantized"
    shared = f"a share of {tensor.group} tensors measured together" if tensor.group > 1 else ""
    return told(tensor.name, tensor.type, f"KL {significant(tensor.kl_nats)} nats a token", shared)


def _layout(kinds: Sequence[str], columns: Sequence[int | None], found: Sequence[Tensor]) -> dict[str, Any]:
    plain = {"showgrid": False, "ticks": ""}
    ends = "; ends: before and after the layers" if None in columns else ""
    x = axis(f"layer{ends}", type="category", **plain)
    return layout(x, axis("", type="category", autorange="reversed", **plain))


def _notes(subject: Subject) -> list[str]:
    told = as_mapping(subject.layers)
    text = clean(str(as_mapping(told.get("text")).get("name") or "unknown text"))
    tokens = as_number(told.get("tokens_evaluated")) or 0
    notes = [f"Measured over {tokens:,.0f} tokens of the {text} text, against {clean(str(told.get('base')))}."]
    together, alone = as_number(told.get("all_kl_nats")), sum(each.kl_nats for each in tensors(subject))
    if together is not None:
        notes.append(f"All tensors together lose {significant(together)}; the single ones sum to {significant(alone)}.")
    if any(each.group > 1 for each in tensors(subject)):
        notes.append("Some tensors were measured together; each shows its equal share.")
    return notes


def _summary(subject: Subject, found: Sequence[Tensor]) -> str:
    most = sorted(found, key=lambda each: -each.kl_nats)[:3]
    by_type: dict[str, float] = defaultdict(float)
    for each in found:
        by_type[each.type] += each.kl_nats
    types = ", ".join(
        f"{kind} {significant(loss)}" for kind, loss in sorted(by_type.items(), key=lambda pair: -pair[1])
    )
    top = ", ".join(f"{each.name} ({each.type}) {significant(each.kl_nats)}" for each in most)
    return f"KL divergence in nats a token of each quantized tensor alone. Most is lost in {top}. By type: {types}."


def _row(tensor: Tensor) -> list[Cell]:
    layer = None if tensor.layer is None else float(tensor.layer)
    return [
        word(tensor.name),
        number(layer, f"{tensor.layer}", "the tensor lies before or after the layers"),
        word(tensor.kind),
        word(tensor.type),
        number(tensor.kl_nats, significant(tensor.kl_nats)),
        word("alone" if tensor.group == 1 else f"a share of {tensor.group}"),
    ]
