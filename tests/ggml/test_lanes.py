"""The vectorized searches give libggml's bytes, for weights of every kind that a model may hold."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lqmf.ggml import ggml, lanes
from lqmf.ggml.chunks import NUMBERS, row_bytes

ROWS = 24
TYPES = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")
Rows = NDArray[np.float32]
BUILT = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="the searches are built by a C compiler"
)


def sparse(random: np.random.Generator, shape: tuple[int, int]) -> Rows:
    return np.where(random.random(shape) < 0.7, 0, random.standard_normal(shape) * 0.02).astype(np.float32)


def uneven(random: np.random.Generator, shape: tuple[int, int]) -> Rows:
    size = 10.0 ** random.integers(-20, 4, (shape[0], shape[1] // 16)).repeat(16, axis=1)
    return (random.standard_normal(shape) * size).astype(np.float32)


WEIGHTS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Rows]] = {
    "bell-shaped": lambda random, shape: (random.standard_normal(shape) * 0.02).astype(np.float32),
    "with outliers": lambda random, shape: (random.standard_normal(shape) ** 5).astype(np.float32),
    "never negative": lambda random, shape: np.abs(random.standard_normal(shape)).astype(np.float32),
    "halves": lambda random, shape: random.standard_normal(shape).astype(np.float16).astype(np.float32),
    "few values": lambda random, shape: random.integers(-3, 4, shape).astype(np.float32),
    "one value": lambda random, shape: np.full(shape, 0.5, np.float32),
    "nothing": lambda random, shape: np.zeros(shape, np.float32),
    "too small for a half": lambda random, shape: (random.standard_normal(shape) * 1e-9).astype(np.float32),
    "denormal": lambda random, shape: (random.standard_normal(shape) * 1e-38).astype(np.float32),
    "too large for a half": lambda random, shape: (random.standard_normal(shape) * 1e6).astype(np.float32),
    "mostly zero": sparse,
    "of uneven size": uneven,
}


@BUILT
@pytest.mark.parametrize("name", TYPES)
def test_every_search_is_built_and_proven_where_there_is_a_compiler(name: str) -> None:
    assert lanes.proven(NUMBERS[name], weighted=True)


@BUILT
@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("name", TYPES)
def test_the_bytes_are_those_of_libggml(name: str, kind: str) -> None:
    random, number = np.random.default_rng(7), NUMBERS[name]
    for columns in (256, 768, 2048, *([32, 896] if name == "IQ4_NL" else [])):
        rows = np.ascontiguousarray(WEIGHTS[kind](random, (ROWS, columns)))
        ordinary = random.random(columns, dtype=np.float32)
        unseen = np.where(random.random(columns) < 0.3, 0, ordinary * 1e-6).astype(np.float32)
        for importance in (None, ordinary, unseen):
            if importance is None and not lanes.proven(number, weighted=False):
                continue
            given = None if importance is None else importance.ctypes.data
            made, expected = np.zeros((2, ROWS * row_bytes(number, columns)), np.uint8)
            lanes.quantize(number, rows.ctypes.data, made.ctypes.data, ROWS, columns, given)
            ggml.library().ggml_quantize_chunk(number, rows.ctypes.data, expected.ctypes.data, 0, ROWS, columns, given)
            assert (made == expected).all()


def test_what_the_searches_cannot_make_is_made_by_libggml() -> None:
    """Q8_0 has none; Q3_K without importance has another one."""
    rows = np.random.default_rng(3).standard_normal((4, 512)).astype(np.float32)
    for name in ("Q8_0", "Q3_K"):
        made, expected = np.zeros((2, 4 * row_bytes(NUMBERS[name], 512)), np.uint8)
        size = lanes.quantize(NUMBERS[name], rows.ctypes.data, made.ctypes.data, 4, 512, None)
        ggml.library().ggml_quantize_chunk(NUMBERS[name], rows.ctypes.data, expected.ctypes.data, 0, 4, 512, None)
        assert size == made.nbytes
        assert (made == expected).all()


def test_a_library_that_gives_other_bytes_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def lqmf_quantize(self, kind: int, source: int, target: int, rows: int, columns: int, given: int | None) -> int:
            return rows * row_bytes(kind, columns)  # says it wrote them, and wrote nothing

    monkeypatch.setattr(lanes, "_library", Wrong)
    lanes.proven.cache_clear()
    try:
        assert not lanes.proven(NUMBERS["Q4_K"], weighted=False)
    finally:
        lanes.proven.cache_clear()
