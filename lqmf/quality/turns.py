"""Two models that do not fit the memory together are run one after the other: the first one's logits wait on the disk.

Knows sizes and arrays of logits; no engine, and no measure.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lqmf.inference import safetensors_folder
from lqmf.quality.weights import weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHARE_OF_MEMORY = 0.8  # of what is free, for two models' weights
_SHARE_OF_DISK = 0.5  # of what is free, for waiting logits


def too_large_together(one: Path, other: Path, device: str) -> bool:
    """Whether both models' weights would take more than there is room for, where they are to run. A GGUF file is
    mapped: the system reads again what it had to give up."""
    free, dtype = _free(device)
    return sum(_loaded_bytes(path, dtype) for path in (one, other)) > _SHARE_OF_MEMORY * free


def _free(device: str) -> tuple[int, str]:
    """Bytes, and the type that weights are widened to there."""
    from lqmf import hardware

    here = hardware.detect()
    if device != "cpu" and here.gpus:
        return here.gpus[0].memory_free_bytes, "bfloat16"
    return here.ram_available_bytes, "float32"


def _loaded_bytes(path: Path, dtype: str) -> int:
    if path.is_dir() and safetensors_folder.is_model(path):
        return safetensors_folder.stored(path).loaded_bytes(dtype)
    return weights(path).size_bytes


class Waiting:
    """Arrays of float32 in an unnamed file in `folder`, given back in the order they came in. It goes with the block,
    or with the process."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed in __exit__)
        self._shapes: list[tuple[int, ...]] = []
        self._room_bytes = _SHARE_OF_DISK * shutil.disk_usage(folder).free

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether there is room for one more array of `shape`."""
        waiting = sum(math.prod(each) for each in self._shapes)
        return 4 * (waiting + math.prod(shape)) <= self._room_bytes

    def put(self, rows: NDArray[np.float32]) -> None:
        """Keep `rows`."""
        self._shapes.append(rows.shape)
        self._file.write(rows.tobytes())

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        import numpy as np

        self._file.seek(0)
        for shape in self._shapes:
            yield np.frombuffer(self._file.read(4 * math.prod(shape)), dtype=np.float32).reshape(shape)

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()
