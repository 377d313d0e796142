"""Computes which bytes of a file are still missing. Pure arithmetic on half-open ranges (start, end), in bytes."""

from __future__ import annotations

from collections.abc import Iterable

Range = tuple[int, int]  # start <= byte < end


def merge(ranges: Iterable[Range]) -> list[Range]:
    """Merge ranges that touch or overlap; return as few ranges as possible, in order."""
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def covered(ranges: Iterable[Range]) -> int:
    """Return how many bytes the ranges hold; a byte in two ranges counts once."""
    return sum(end - start for start, end in merge(ranges))


def missing(done: Iterable[Range], size: int) -> list[Range]:
    """Return the ranges of a file of `size` bytes that are not in `done`, in order."""
    gaps, at = [], 0
    for start, end in merge(done):
        if at < start:
            gaps.append((at, min(start, size)))
        at = max(at, end)
    if at < size:
        gaps.append((at, size))
    return [(start, end) for start, end in gaps if start < end]


def split(gaps: Iterable[Range], chunk_bytes: int) -> list[Range]:
    """Cut the gaps into ranges of at most `chunk_bytes`, in order."""
    return [(at, min(at + chunk_bytes, end)) for start, end in gaps for at in range(start, end, chunk_bytes)]
