"""How a survey of the disk looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.messages import notice_view
from lqmf.cli.views.tables import bar, cell, table
from lqmf.units import file_size


def disk_view(survey: Mapping[str, Any]) -> RenderableType:
    """Folders by size, free space, and what can go."""
    total = sum(folder["size_bytes"] for folder in survey["folders"]) or 1
    rows = table("folder", "", "size", "path", right=("size",), keep=("folder", "size"))
    for folder in survey["folders"]:
        share = bar(folder["size_bytes"] / total, 12)
        rows.add_row(folder["name"], share, file_size(folder["size_bytes"]), Text(cell(folder["path"]), style="dim"))
    free = notice_view(f"{file_size(survey['free_bytes'])} of {file_size(survey['total_bytes'])} are free.")
    busy = [
        notice_view(f"{cell(used['path'])} ({file_size(used['size_bytes'])}) is in use by a running job.")
        for used in survey["in_use"]
    ]
    if not survey["removable"]:
        return Group(rows, free, *busy)
    removable = table("can go", "size", "why", right=("size",), keep=("size",))
    for item in survey["removable"]:
        removable.add_row(cell(item["path"]), file_size(item["size_bytes"]), f"{item['reason']}; {item['remedy']}")
    return Group(rows, free, *busy, removable)
