"""How the help of the chat looks: what can be said, and what can be typed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lqmf.cli.command import Command

SAYINGS = (
    "quantize mistral 7b to 4 bits for an 8 GB GPU",
    "now the same in 5-bit",
    "test it",
    "compare it with the last one",
    "how big would gpt2 be at 8 bit?",
)


def help_view(commands: Sequence[Command]) -> RenderableType:
    """Examples of sentences, then the commands under their headings."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    panel = ""
    for command in commands:
        if command.panel != panel:
            panel = command.panel
            grid.add_row(Text(panel, style="bold"), "")
        grid.add_row(Text(f"  {command.name}", style="cyan"), command.summary)
    sayings = [Text(f"  {line}", style="cyan") for line in SAYINGS]
    more = Text(
        "`help COMMAND` says how one is used. A question may be answered by a number, `why?`, `back` or `cancel`.",
        style="dim",
    )
    return Group(
        Text("Say what you want", style="bold"), *sayings, Text(), Text("Or type a command"), grid, Text(), more
    )
