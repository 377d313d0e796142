"""Checks that the installed llama.cpp runs on this processor and computes right answers. The child's side.

Computes one matrix product of each common type, in every kind of buffer that the processor's backend offers (some
arrange weights anew and have kernels of their own), then a small quantized Llama; all are compared with plain numpy, on
weights that libggml-base decodes: that library is compiled for any processor of the family. Each computation is
announced before it starts, so that the parent knows which of them a process died of. `python -m lqmf.ggml.probe` writes
JSON lines; `proof.py` reads them. Needs numpy and llama_cpp alone: the set-up runs it before the rest is installed.
Knows no engine, and no file but its own small model.
"""

from __future__ import annotations

import ctypes
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqmf.errors import LqmfError, NotBuilt
from lqmf.ggml import codec, ggml, library, synthetic_model
from lqmf.ggml.library import REMEDY
from lqmf.ggml.synthetic_model import HEAD, Shape
from lqmf.model_files.tensor_types import KINDS

TYPES = (
    *("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "q5_1", "q5_0", "q4_1", "q4_0", "mxfp4"),
    *("iq4_xs", "iq4_nl", "iq3_s", "iq3_xxs", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_s", "iq1_m"),
)
BY_SEARCH = ("iq3_s", "iq3_xxs", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_s", "iq1_m")  # libggml quantizes to them by tables
# that take it seconds to build
COLUMNS, ROWS = 512, 64  # of the weights: whole blocks of every type, whole tiles of every kernel
BATCHES = (1, 37)  # rows of activations: one as when a token is written, then whole tiles and a rest
MOST_ERROR = 5e-4  # squared error of a product over its square: what llama.cpp's own test-backend-ops allows
MODEL = Shape("q4_k", layers=2, width=256, inner=512, context=64)
MODEL_MOST_ERROR = 5e-3  # the same of logits: the activations are rounded before each of its products
PROMPT, NEXT = tuple(range(3, 40)), 200  # tokens
THREADS = 2

_POINTER, _SIZE, _NUMBER = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_CPU = 0  # GGML_BACKEND_DEVICE_TYPE_CPU
_WEIGHTS = 1  # GGML_BACKEND_BUFFER_USAGE_WEIGHTS
_F32 = codec.NUMBERS["f32"]
Floats = NDArray[np.float64]


def main() -> int:
    """Run all checks; return 0 if all answers are right, else 1. Each printed line is {"doing"}, {"wrong"}, {"error"}
    or, at the end, {"done", "gpu"}: how many answers were compared, and whether this build can use a GPU."""
    try:
        _say({"doing": "loading"})
        gpu = bool(library.load().llama_supports_gpu_offload())
        right = [_is_right(*check) for check in _checks()]
    except LqmfError as error:
        _say({"error": error.message})
        return 1
    _say({"done": len(right), "gpu": gpu})
    return 0 if all(right) else 1


def _is_right(what: str, error: float, most: float) -> bool:
    if error <= most:
        return True
    _say({"wrong": f"{what}: {error:.2g} of their square off, where {most:.0e} is allowed"})  # or not a number
    return False


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _checks() -> Iterator[tuple[str, float, float]]:
    """Yield each computation's name, its error, and the largest error allowed. Each is announced before it is
    computed."""
    backend = _Backend()
    for kind in TYPES:
        weights = random_weights(kind, COLUMNS, ROWS)
        for place, buffer in backend.buffers.items():
            for batch in BATCHES:
                what = f"{kind.upper()} weights times {batch} in {place} memory"
                _say({"doing": what})
                given = np.random.default_rng(batch).standard_normal((batch, COLUMNS)).astype(np.float32)
                product = backend.product(weights, given, buffer)
                if product is not None:
                    yield what, _error(product, given.astype(np.float64) @ weights.decoded.T), MOST_ERROR
    what = f"a small {MODEL.type.upper()} model"
    _say({"doing": what})
    for logits, expected in _answers():
        yield what, _error(logits, expected), MODEL_MOST_ERROR


def _error(found: NDArray[np.float32], expected: Floats) -> float:
    return float(np.square(found - expected).sum() / np.square(expected).sum())


# ---------------------------------------------------------------- weights


@dataclass(frozen=True)
class Weights:
    """Random rows of weights: their bytes, and the numbers that these stand for, of shape (rows, columns)."""

    kind: str
    data: NDArray[np.uint8]
    decoded: Floats


@cache
def random_weights(kind: str, columns: int, rows: int) -> Weights:
    """Return random rows of `kind`, the same at each call; of a type that is quantized by search, blocks of random
    bytes."""
    random = np.random.default_rng(rows)
    if kind in BY_SEARCH:
        blocks = random.integers(0, 256, (rows * columns // KINDS[kind].block, KINDS[kind].block_bytes), np.uint8)
        _scale(blocks, kind, np.float16(columns**-0.5))
        data: NDArray[np.uint8] = blocks.reshape(rows, -1)
    else:
        values = random.standard_normal((rows, columns)).astype(np.float32) / np.float32(columns**0.5)
        data = codec.encode(values, kind, np.ones(columns, np.float32))
    return Weights(kind, data, codec.decode(data, kind, columns).astype(np.float64))


def _scale(blocks: NDArray[np.uint8], kind: str, scale: np.float16) -> None:
    """Write the scale where blocks of `kind` have it: in front, or in the upper halves of the last odd bytes."""
    if kind != "iq1_m":
        blocks[:, :2] = np.frombuffer(scale.tobytes(), np.uint8)
        return
    for place, half in enumerate(f"{int(scale.view(np.uint16)):04x}"[::-1]):
        blocks[:, 49 + 2 * place] = blocks[:, 49 + 2 * place] & 0x0F | int(half, 16) << 4


# ---------------------------------------------------------------- one product


class _Room(ctypes.Structure):
    """`struct ggml_init_params`."""

    _fields_ = (("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("without_data", ctypes.c_bool))


class _Backend:
    """ggml's backend for the processor, as llama.cpp uses it. `buffers` are the kinds of memory that it offers, by
    name."""

    def __init__(self) -> None:
        self._base = _declared(ggml.library(), _BASE)
        device = _declared(ggml.opened("ggml"), _REGISTRY).ggml_backend_dev_by_type(_CPU)
        if not device:
            raise NotBuilt("The installed llama.cpp has no backend for a processor.", REMEDY)
        self._backend = self._base.ggml_backend_dev_init(device, None)
        self._registry = self._base.ggml_backend_dev_backend_reg(device)
        set_threads = self._found("ggml_backend_set_n_threads", ctypes.CFUNCTYPE(None, _POINTER, _NUMBER))
        set_threads(self._backend, THREADS)
        self._own = self._base.ggml_backend_dev_buffer_type(device)
        self.buffers = {self._named(kind): kind for kind in (self._own, *self._extras(device))}

    def _found(self, name: str, signature: Any) -> Any:
        """Return a function of this backend by its name."""
        return signature(self._base.ggml_backend_reg_get_proc_address(self._registry, name.encode()))

    def _extras(self, device: int) -> Iterator[int]:
        listed = ctypes.CFUNCTYPE(ctypes.POINTER(_POINTER), _POINTER)
        kinds = self._found("ggml_backend_dev_get_extra_bufts", listed)(device)
        for place in count():
            if not kinds[place]:
                return
            yield kinds[place]

    def _named(self, kind: int) -> str:
        name: bytes = self._base.ggml_backend_buft_name(kind)
        return name.decode()

    def product(self, weights: Weights, given: NDArray[np.float32], memory: int) -> NDArray[np.float32] | None:
        """Return `given` (N, columns) times the transposed weights: (N, rows); None if this memory is not for this
        type."""
        base, (rows, _), (batch, columns) = self._base, weights.decoded.shape, given.shape
        room = _Room(1 << 20, None, True)
        held, passing = base.ggml_init(room), base.ggml_init(room)
        matrix = base.ggml_new_tensor_2d(held, codec.NUMBERS[weights.kind], columns, rows)
        vector = base.ggml_new_tensor_2d(passing, _F32, columns, batch)
        made = base.ggml_mul_mat(passing, matrix, vector)
        stored = base.ggml_backend_alloc_ctx_tensors_from_buft(held, memory)
        passed = base.ggml_backend_alloc_ctx_tensors_from_buft(passing, self._own)
        try:
            base.ggml_backend_buffer_set_usage(stored, _WEIGHTS)
            if not base.ggml_backend_supports_op(self._backend, made):
                return None
            base.ggml_backend_tensor_set(matrix, weights.data.ctypes.data, 0, weights.data.nbytes)
            base.ggml_backend_tensor_set(vector, given.ctypes.data, 0, given.nbytes)
            graph = base.ggml_new_graph(passing)
            base.ggml_build_forward_expand(graph, made)
            base.ggml_backend_graph_compute(self._backend, graph)
            product = np.empty((batch, rows), np.float32)
            base.ggml_backend_tensor_get(made, product.ctypes.data, 0, product.nbytes)
            return product
        finally:
            for buffer, context in ((stored, held), (passed, passing)):
                base.ggml_backend_buffer_free(buffer)
                base.ggml_free(context)


_Signatures = Sequence[tuple[str, Any, tuple[Any, ...]]]
_REGISTRY: _Signatures = (("ggml_backend_dev_by_type", _POINTER, (_NUMBER,)),)
_BASE: _Signatures = (
    ("ggml_init", _POINTER, (_Room,)),
    ("ggml_free", None, (_POINTER,)),
    ("ggml_new_tensor_2d", _POINTER, (_POINTER, _NUMBER, ctypes.c_int64, ctypes.c_int64)),
    ("ggml_mul_mat", _POINTER, (_POINTER, _POINTER, _POINTER)),
    ("ggml_new_graph", _POINTER, (_POINTER,)),
    ("ggml_build_forward_expand", None, (_POINTER, _POINTER)),
    ("ggml_backend_dev_init", _POINTER, (_POINTER, ctypes.c_char_p)),
    ("ggml_backend_dev_buffer_type", _POINTER, (_POINTER,)),
    ("ggml_backend_dev_backend_reg", _POINTER, (_POINTER,)),
    ("ggml_backend_reg_get_proc_address", _POINTER, (_POINTER, ctypes.c_char_p)),
    ("ggml_backend_buft_name", ctypes.c_char_p, (_POINTER,)),
    ("ggml_backend_alloc_ctx_tensors_from_buft", _POINTER, (_POINTER, _POINTER)),
    ("ggml_backend_buffer_set_usage", None, (_POINTER, _NUMBER)),
    ("ggml_backend_buffer_free", None, (_POINTER,)),
    ("ggml_backend_supports_op", ctypes.c_bool, (_POINTER, _POINTER)),
    ("ggml_backend_tensor_set", None, (_POINTER, _POINTER, _SIZE, _SIZE)),
    ("ggml_backend_tensor_get", None, (_POINTER, _POINTER, _SIZE, _SIZE)),
    ("ggml_backend_graph_compute", _NUMBER, (_POINTER, _POINTER)),
)


def _declared(lib: Any, signatures: _Signatures) -> Any:
    for name, result, arguments in signatures:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


# ---------------------------------------------------------------- one small model


def _answers() -> Iterator[tuple[NDArray[np.float32], Floats]]:
    """Yield the logits of llama.cpp and those of plain numpy: after a prompt, then after one token more."""
    tokens = [*PROMPT, NEXT]
    expected = _logits(tokens)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.gguf"
        synthetic_model.write(
            file, MODEL, lambda kind, columns: random_weights(kind, columns, MODEL.width).data.tobytes()
        )
        for place, logits in zip((-2, -1), _run(file, [list(PROMPT), [NEXT]]), strict=True):
            yield logits, expected[place]


def _run(file: Path, parts: Sequence[list[int]]) -> Iterator[NDArray[np.float32]]:
    """Yield the last token's logits after each part. Raises NotBuilt if llama.cpp does not load or run the file."""
    lib = library.load()
    settings = lib.llama_model_default_params()
    settings.n_gpu_layers = 0
    model = lib.llama_model_load_from_file(str(file).encode(), settings)
    sizes = lib.llama_context_default_params()
    sizes.n_ctx, sizes.n_threads, sizes.n_threads_batch = MODEL.context, THREADS, THREADS
    context = lib.llama_init_from_model(model, sizes) if model else None
    if not context:
        raise NotBuilt("The installed llama.cpp does not load a small model.", REMEDY)
    try:
        for part in parts:
            tokens = (lib.llama_token * len(part))(*part)
            code = lib.llama_decode(context, lib.llama_batch_get_one(tokens, len(part)))
            if code != 0:
                raise NotBuilt(f"The installed llama.cpp does not run a small model (code {code}).", REMEDY)
            yield np.ctypeslib.as_array(lib.llama_get_logits_ith(context, -1), (MODEL.vocabulary,)).copy()
    finally:
        lib.llama_free(context)
        lib.llama_model_free(model)


def _logits(tokens: Sequence[int]) -> Floats:
    """The logits (tokens, vocabulary) of the model in `MODEL`: a Llama as its paper has it, in 64-bit floats."""
    width, inner = MODEL.width, MODEL.inner
    shapes = ((width, width), (inner, width), (width, inner), (MODEL.vocabulary, width))
    square, up, down, words = (_matrix(*shape) for shape in shapes)
    stream = words[list(tokens)]
    for _layer in range(MODEL.layers):
        stream = stream + _attention(_normal(stream) @ square.T) @ square.T
        opened = _normal(stream) @ up.T  # gate and input have the same matrix
        stream = stream + (opened / (1 + np.exp(-opened)) * opened) @ down.T
    found: Floats = _normal(stream) @ words.T
    return found


def _matrix(rows: int, columns: int) -> Floats:
    """Return a matrix as the model's file has it: the given rows, repeated."""
    return np.resize(random_weights(MODEL.type, columns, MODEL.width).decoded, (rows, columns))


def _normal(stream: Floats) -> Floats:
    found: Floats = stream / np.sqrt(np.square(stream).mean(axis=-1, keepdims=True) + 1e-5)
    return found


def _attention(projected: Floats) -> Floats:
    """Causal attention, where queries, keys and values have the same matrix; (tokens, width) to the same."""
    heads = projected.reshape(len(projected), -1, HEAD).transpose(1, 0, 2)
    turned = _turned(heads)
    scores = turned @ turned.transpose(0, 2, 1) / HEAD**0.5
    scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    found: Floats = (weights @ heads).transpose(1, 0, 2).reshape(projected.shape)
    return found


def _turned(heads: Floats) -> Floats:
    """Rotary positions: neighbours turned as pairs, by an angle that grows with the token's place."""
    angles = np.arange(heads.shape[1])[:, None] * 10000.0 ** (-np.arange(0, HEAD, 2) / HEAD)
    pairs = (heads[..., 0::2] + 1j * heads[..., 1::2]) * np.exp(1j * angles)
    return np.stack([pairs.real, pairs.imag], axis=-1).reshape(heads.shape)


if __name__ == "__main__":
    sys.exit(main())
