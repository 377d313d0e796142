"""The error of each tensor as each type: the tensor is quantized and read back, row by row, and the error weighed by
importance.

The error of a tensor W is the sum over rows and columns of importance_c (W_rc - W'_rc)^2: the expected squared change
of its outputs, for one token. Large tensors are sampled, evenly over their rows. Errors are kept in LQMF's cache by
content. Does not know how an error changes the model's predictions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lqmf import workspace
from lqmf.errors import ModelError
from lqmf.events import Emit, Progress
from lqmf.ggml import codec, library
from lqmf.ggml.base_file import BaseFile
from lqmf.model_files.gguf_header import Tensor
from lqmf.model_files.imatrix_file import Imatrix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Errors = Mapping[str, Mapping[str, float]]  # tensor, type: error

_FORMAT = 1
_SAMPLED_ELEMENTS = 1 << 14  # of each tensor: the same rows for all types, which compares them well
_LEAST_ROWS = 16
_SPREAD = 7919  # a prime: which rows are taken


def make(
    base: BaseFile, imatrix: Imatrix | None, types: Mapping[str, Sequence[str]], emit: Emit, *, threads: int = 0
) -> dict[str, dict[str, float]]:
    """Return the error of each tensor as each of its `types`, from the cache where it is known. Raises ModelError for
    weights that are not finite."""
    found: dict[str, dict[str, float]] = {}
    names = list(types)
    with ThreadPoolExecutor(threads or library.threads()) as pool:
        made = pool.map(lambda name: _tensor(base, name, types[name], importance(base, imatrix, name)), names)
        for done, (name, errors) in enumerate(zip(names, made, strict=True), 1):
            found[name] = errors
            emit(Progress(stage="allocate", done=done, total=len(names), unit="tensors", note=f"errors of {name}"))
    return found


def importance(base: BaseFile, imatrix: Imatrix | None, name: str) -> NDArray[np.float32] | None:
    """Return the importance of the tensor's columns by the imatrix, (matrices, columns); None if the imatrix lacks the
    tensor."""
    return imatrix.importance(name, base.tensors[name].shape[0]) if imatrix else None


def _tensor(base: BaseFile, name: str, types: Sequence[str], weigh: NDArray[np.float32] | None) -> dict[str, float]:
    """One tensor's errors, through the cache."""
    import numpy as np

    sample = _sample(base, name)
    if not all(np.isfinite(rows).all() for rows in sample):
        raise ModelError(f"{name} holds weights that are not finite.", "Get the model again, or use another.")
    scale = base.tensors[name].elements / sum(rows.size for rows in sample)
    place = _place(base.tensors[name], sample, weigh)
    known = _recall(place)
    for kind in types:
        if kind not in known:
            pairs = zip(sample, _each(weigh, len(sample)), strict=True)
            known[kind] = scale * sum(error(rows, kind, weights) for rows, weights in pairs)
    workspace.keep_json(place, known)
    return {kind: known[kind] for kind in types}


def error(rows: NDArray[np.float32], kind: str, weights: NDArray[np.float32] | None) -> float:
    """Return the squared error of `rows` (N, C) written as `kind`, weighed by `weights` (C,); None: unweighed."""
    import numpy as np

    squares = np.square(codec.decode(codec.encode(rows, kind, weights), kind, rows.shape[1]) - rows)
    return float((squares if weights is None else squares * weights).sum(dtype=np.float64))


def _each(weigh: NDArray[np.float32] | None, matrices: int) -> Sequence[NDArray[np.float32] | None]:
    return [None] * matrices if weigh is None else list(weigh)


def _sample(base: BaseFile, name: str) -> list[NDArray[np.float32]]:
    """Rows of each matrix of the tensor, the same ones every time."""
    import numpy as np

    tensor, matrices = base.tensors[name], base.matrices(name)
    columns, rows = tensor.shape[0], tensor.shape[1]
    wanted = max(_LEAST_ROWS, _SAMPLED_ELEMENTS // columns // matrices)
    if wanted >= rows:
        return [base.rows(name, matrix, slice(None)) for matrix in range(matrices)]
    places = np.unique(np.arange(wanted) * rows // wanted + (np.arange(wanted) * _SPREAD) % (rows // wanted))
    return [base.rows_at(name, matrix, places) for matrix in range(matrices)]


def _place(tensor: Tensor, sample: Sequence[NDArray[np.float32]], weigh: NDArray[np.float32] | None) -> Path:
    """Where the tensor's errors are kept: by what they are computed from."""
    seen = hashlib.sha256(repr((_FORMAT, library.installed_version(), tensor.shape)).encode())
    for array in (*sample, *(() if weigh is None else (weigh,))):
        seen.update(array.tobytes())
    name = seen.hexdigest()[:40]
    return workspace.measured_dir() / "errors" / name[:2] / f"{name}.json"


def _recall(place: Path) -> dict[str, float]:
    found = workspace.kept_json(place)
    return found if all(isinstance(value, float) for value in found.values()) else {}
