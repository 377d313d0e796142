"""Ranges and the journal: whatever the moment of a kill, only true bytes are kept and the file comes out whole."""

from __future__ import annotations

import itertools
import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lqmf.hub.journal import Partial, paths_of, proven
from lqmf.hub.ranges import covered, merge, missing, split

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda r: (min(r), max(r))), max_size=12)


def bytes_of(ranges) -> set[int]:
    return {at for start, end in ranges for at in range(start, end)}


@given(RANGES)
def test_merging_keeps_the_bytes_in_ordered_disjoint_ranges(ranges) -> None:
    merged = merge(ranges)
    assert bytes_of(merged) == bytes_of(ranges)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(merged))
    assert covered(ranges) == len(bytes_of(ranges))


@given(RANGES, st.integers(0, 50), st.integers(1, 9))
def test_what_is_missing_is_exactly_what_is_not_done(ranges, size, chunk) -> None:
    gaps = missing(ranges, size)
    assert bytes_of(gaps) == set(range(size)) - bytes_of(ranges)
    pieces = split(gaps, chunk)
    assert bytes_of(pieces) == bytes_of(gaps)
    assert all(0 < end - start <= chunk for start, end in pieces)
    assert sum(end - start for start, end in pieces) == len(bytes_of(gaps))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5000), st.integers(1, 400))
def test_any_series_of_kills_ends_in_the_right_bytes(seed: int, size: int, flush_bytes: int) -> None:
    """A kill may lose unproven bytes (they become rubbish) and tear the journal's last line."""
    chance = random.Random(seed)
    content = chance.randbytes(size)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "sub" / "model.safetensors"
        for _ in range(200):
            partial = Partial(target, size, "sha256:x", flush_bytes=flush_bytes)
            before = partial.done
            pieces = split(partial.missing(), chance.randint(1, 700))
            chance.shuffle(pieces)
            for start, end in pieces[: chance.randint(0, len(pieces))]:
                partial.write(start, content[start:end])
            assert covered(partial.done) >= covered(before)
            if chance.random() < 0.3:
                partial.close()
            if partial.complete:
                partial.promote()
                break
            kill(partial, chance)
        else:
            partial = Partial(target, size, "sha256:x")
            for start, end in partial.missing():
                partial.write(start, content[start:end])
            partial.flush()
            partial.promote()
        assert target.read_bytes() == content
        assert not any(path.exists() for path in paths_of(target))


def kill(partial: Partial, chance: random.Random) -> None:
    """Close without proving; spoil what is not proven; leave a torn line."""
    if partial._files is not None:
        for file in partial._files:
            file.close()
    part, journal = paths_of(partial.target)
    if not part.exists():
        return
    body = bytearray(part.read_bytes())
    for start, end in missing(partial.done, len(body)):
        body[start:end] = chance.randbytes(end - start)
    part.write_bytes(body)
    whole = journal.read_bytes()
    torn = chance.choice([b"", b"[0, 99", b"[0, 9999999]\n", b"\xff\n", b'{"a": 1}\n', b"[5, 2]\n", b"[true, 3]"])
    journal.write_bytes(whole + torn)


def test_a_journal_of_other_content_proves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "f"
    partial = Partial(target, 10, "sha256:a")
    partial.write(0, b"12345")
    partial.close()
    assert proven(target, 10, "sha256:a") == [(0, 5)]
    assert proven(target, 10, "sha256:b") == []
    assert proven(target, 11, "sha256:a") == []
    anew = Partial(target, 10, "sha256:b")
    anew.write(5, b"67890")
    anew.close()
    assert proven(target, 10, "sha256:b") == [(5, 10)]


def test_bytes_that_the_file_does_not_hold_are_not_believed(tmp_path: Path) -> None:
    target = tmp_path / "f"
    partial = Partial(target, 10, "sha256:a", flush_bytes=2)
    partial.write(0, b"12")
    partial.write(2, b"34")
    partial.close()
    with paths_of(target)[0].open("r+b") as file:
        file.truncate(3)
    assert proven(target, 10, "sha256:a") == [(0, 2)]


def test_an_empty_file_is_whole_at_once(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "empty", 0, "git:x")
    assert partial.complete
    partial.promote()
    assert (tmp_path / "empty").read_bytes() == b""
