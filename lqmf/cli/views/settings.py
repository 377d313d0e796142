"""How settings look: each with its value and where that came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.messages import Unfolded, notice_view
from lqmf.cli.views.tables import cell, table


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
