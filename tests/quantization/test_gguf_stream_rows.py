"""Which rows of which files a lazy tensor is made of: found out where it can be, and never guessed."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.stream import lazy_rows
from lqmf.quantization.gguf.stream.lazy_rows import Leaf, Rows

OFFSET = 64


@pytest.fixture(scope="module")
def base() -> Iterator[Any]:
    """The converter's own module, importable for as long as these tests run."""
    root = toolchain.ensure().root
    before, known = list(sys.path), set(sys.modules)
    sys.path[:0] = [str(root), str(root / "gguf-py")]
    try:
        from conversion import base

        yield base
    finally:
        sys.path[:] = before
        for name in set(sys.modules) - known:
            if name.partition(".")[0] in ("conversion", "gguf"):
                del sys.modules[name]


class File:
    """One weight file of bfloat16 tensors, written as they are asked for, and the converter's lazy view of each."""

    def __init__(self, base: Any, path: Path) -> None:
        self._base, self._path = base, path
        path.write_bytes(bytes(OFFSET))

    def lazy(self, *shape: int) -> Any:
        import torch

        values = torch.randn(math.prod(shape)).to(torch.bfloat16)
        start = self._path.stat().st_size
        with self._path.open("ab") as file:
            file.write(values.view(torch.uint8).numpy().tobytes())
        utility = self._base.gguf.utility
        place = utility.LocalTensorRange(self._path, start, values.numel() * 2)
        return self._base.LazyTorchTensor.from_local_tensor(utility.LocalTensor("BF16", shape, place))

    def leaf(self, node: Any) -> Leaf | None:
        import torch

        local = node._args[0] if len(node._args) == 1 else None
        if not isinstance(local, self._base.gguf.utility.LocalTensor):
            return None
        place = local.data_range
        return Leaf(str(place.filename), place.offset, place.size, torch.bfloat16, tuple(local.shape), "x")

    def values(self, rows: Rows) -> Any:
        """What the rows say the tensor is, read by position."""
        import torch

        parts = []
        for part in rows.parts:
            with self._path.open("rb") as file:
                file.seek(part.leaf.offset)
                data = torch.frombuffer(bytearray(file.read(part.leaf.size)), dtype=torch.bfloat16)
            if part.start is not None:
                columns = part.leaf.shape[-1]
                made = data[part.start : part.start + part.rows * columns]
            else:
                made = data.reshape(part.leaf.shape)
                for change in part.shapes:
                    made = change(made)
            for cast in part.casts:
                made = made.to(cast)
            parts.append(made.flatten().float())
        return torch.cat(parts)


@pytest.fixture
def file(base: Any, tmp_path: Path) -> File:
    return File(base, tmp_path / "x.safetensors")


def stacked(file: File) -> Any:
    import torch

    return torch.stack([file.lazy(8, 32).to(torch.float32) for _ in range(3)], dim=0)


def joined(file: File) -> Any:
    import torch

    return torch.cat([file.lazy(8, 32), file.lazy(4, 32)], dim=0)


BY_ROW: dict[str, Callable[[File], Any]] = {
    "plain": lambda file: file.lazy(8, 32),
    "widened": lambda file: file.lazy(8, 32).float(),
    "squeezed": lambda file: file.lazy(8, 1, 32).float().squeeze(1),
    "second of a split": lambda file: file.lazy(12, 32).float().split([4, 8])[1],
    "rows cut out": lambda file: file.lazy(12, 32).float()[4:8],
    "half of each expert": lambda file: file.lazy(3, 8, 32).float().chunk(2, dim=-2)[1],
    "stacked experts": stacked,
    "joined": joined,
}
WHOLE: dict[str, Callable[[File], Any]] = {
    "transposed": lambda file: file.lazy(8, 32).float().T,
    "permuted heads": lambda file: file.lazy(16, 32).float().reshape(2, 2, 4, 32).swapaxes(1, 2).reshape(16, 32),
    "columns cut out": lambda file: file.lazy(8, 32).float()[:, 4:12],
}
OPAQUE: dict[str, Callable[[File], Any]] = {
    "one added": lambda file: file.lazy(32) + 1,
    "the product of two": lambda file: file.lazy(8, 32) * file.lazy(8, 32),
    "seen as another type": lambda file: file.lazy(8, 32).view(__import__("torch").int16),
}


@pytest.mark.parametrize(
    ("name", "by_row"), [*zip(BY_ROW, itertools.repeat(True)), *zip(WHOLE, itertools.repeat(False))]
)
def test_rows_are_what_the_converter_evaluates(base: Any, file: File, name: str, by_row: bool) -> None:
    import torch

    with torch.inference_mode():
        node = (BY_ROW | WHOLE)[name](file)
        rows = lazy_rows.understand(node, file.leaf)
        assert rows is not None
        assert all((part.start is not None) == by_row for part in rows.parts)
        found = file.values(rows)
        assert sum(part.rows for part in rows.parts) == math.prod(node.shape[:-1])
        assert found.equal(base.LazyTorchTensor.to_eager(node).flatten().float())


@pytest.mark.parametrize("name", OPAQUE)
def test_anything_else_is_left_to_the_converter(file: File, name: str) -> None:
    import torch

    with torch.inference_mode():
        node = OPAQUE[name](file)
        assert lazy_rows.understand(node, file.leaf) is None
        assert len(list(lazy_rows.leaves(node, file.leaf))) == (2 if "two" in name else 1)
