"""How settings look: each with its value and where that came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.messages import Unfolded, done_view, notice_view
from lqmf.cli.views.tables import cell, table

if TYPE_CHECKING:
    from lqmf.operations.config import Written


def settings_view(described: Sequence[Mapping[str, Any]], root: Path) -> RenderableType:
    """Settings with their origins."""
    rows = table("setting", "value", "from", "what it is", keep=("setting", "from"))
    for setting in described:
        source = setting["source"]
        rows.add_row(
            setting["key"],
            Text(cell(setting["value"]), style="bold"),
            Text(source, style="dim" if source == "default" else "cyan"),
            setting["description"],
        )
    return Group(rows, Unfolded(notice_view(f"The workspace is {root}.")))


def written_view(written: Written) -> RenderableType:
    """What was written, and whether something else still comes first."""
    said = f"{written.key} is {cell(written.value)} in {written.path}."
    if written.in_use_from not in ("config.json", "default"):
        said += f" The value from {written.in_use_from} still comes first."
    return Unfolded(done_view(said))
