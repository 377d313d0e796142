"""Reads server-sent events from a stream of bytes. Pure; knows no server and no model.

Source: the WHATWG HTML standard, "Server-sent events", of which only `data` fields matter here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

LONGEST_LINE = 1 << 20  # bytes; an answer's piece is some hundred


class LineTooLong(ValueError):
    """The server sends no line ends: this is no event stream."""


def events(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the data of each event, in order; comments and other fields are skipped. Raises LineTooLong."""
    data: list[str] = []
    for line in _lines(chunks):
        if not line and data:
            yield "\n".join(data)
            data = []
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
    if data:
        yield "\n".join(data)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        if len(held) > LONGEST_LINE:
            raise LineTooLong
        for line in whole:
            yield line.rstrip(b"\r").decode("utf-8", "replace")
    if held:
        yield held.rstrip(b"\r").decode("utf-8", "replace")
