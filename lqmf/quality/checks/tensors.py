"""Reads a few rows of each weight matrix as floats, however a file stores them: GGUF types, half floats, bitsandbytes,
GPTQ.

An artifact's weights can so be compared with its source's. Reads some kilobytes of each tensor, whatever its size.
Knows names, shapes and encodings; judges nothing. Encodings: bitsandbytes 0.50 (`functional.QuantState`), GPTQ as
gptqmodel 7.6 writes it (qweight, qzeros, scales, g_idx). Runs in a worker only, because it loads libggml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lqmf.ggml import codec
from lqmf.ggml.base_file import BaseFile
from lqmf.model_files import safetensors_folder, safetensors_header
from lqmf.model_files.gguf_files import holds_gguf, model_file
from lqmf.model_files.gguf_header import shards
from lqmf.model_files.safetensors_header import TensorShape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shape = tuple[int, int]  # rows, columns; a vector is one row
_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "U8": "u1", "I8": "i1", "I32": "<i4", "I64": "<i8"}
_NO_FLOATS = ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K")  # GGUF types that libggml turns into no floats
_PACKED_STATE = ".quant_state.bitsandbytes__"
# transformers' Conv1D stores inputs by outputs; whatever packs its weights turns them (bitsandbytes, GPTQ)
_TURNED_TYPES = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")
_TURNED = re.compile(r"(?:^|\.)(?:c_attn|c_proj|c_fc|q_attn)\.weight$")


class Tensors(Protocol):
    """The weights of one model. `shapes` has the tensors that can be read, by name; `unread` says why others cannot be
    read."""

    @property
    def shapes(self) -> Mapping[str, Shape]: ...

    @property
    def unread(self) -> str: ...

    def rows(self, name: str, places: NDArray[np.int64], columns: int) -> NDArray[np.float32]:
        """Return the first `columns` weights of the rows at `places` as (len(places), columns) float32."""
        ...


def tensors(path: Path) -> Tensors:
    """Return the weights at `path`, a GGUF file or a folder. Raises NotFound, ModelError."""
    return GgufTensors(model_file(path)) if holds_gguf(path) else FolderTensors(path)


class GgufTensors:
    """The tensors of a GGUF file and its further shards."""

    unread = ""

    def __init__(self, path: Path) -> None:
        self._files: dict[str, BaseFile] = {}
        for shard in shards(path):
            file = BaseFile(shard)
            self._files |= dict.fromkeys(file.tensors, file)
        self.shapes = {
            name: (prod(file.tensors[name].shape[1:]), file.tensors[name].shape[0])
            for name, file in self._files.items()
            if file.tensors[name].shape and file.tensors[name].type not in _NO_FLOATS
        }

    def rows(self, name: str, places: NDArray[np.int64], columns: int) -> NDArray[np.float32]:
        file = self._files[name]
        tensor = file.tensors[name]
        return codec.decode(file.raw(name)[places], tensor.type, tensor.shape[0])[:, :columns]


class FolderTensors:
    """The tensors of a folder of safetensors files, under the names of the matrices that they encode; rows are outputs,
    whichever way they are stored."""

    def __init__(self, folder: Path) -> None:
        self._places: dict[str, tuple[TensorShape, Path, int]] = {}
        for file in safetensors_header.weights(folder):
            header = safetensors_header.read(file)
            self._places |= {one.name: (one, file, header.begin + one.begin) for one in header.tensors}
        how = safetensors_folder.scheme(folder)
        self._told: Mapping[str, Any] = how.told if how else {}
        self._bits = how.bits if how else 0
        self._turns = safetensors_folder.config(folder).get("model_type") in _TURNED_TYPES
        known = how is None or how.method in ("gptq", "bnb")
        self.unread = "" if known else f"weights as {how.method if how else ''} stores them are not read here"
        self.shapes = dict(self._shapes()) if known else {}

    def _shapes(self) -> dict[str, Shape]:
        found: dict[str, Shape] = {}
        for name, (tensor, _, _) in self._places.items():
            stem, _, last = name.rpartition(".")
            if last == "qweight":
                found[f"{stem}.weight"] = tensor.shape[1], tensor.shape[0] * 32 // (self._bits or 4)
            elif state := self._state(name):
                found[name] = _flat(tuple(state["shape"]))
            elif self._stands_alone(tensor):
                shape = _flat(tensor.shape)
                found[name] = shape[::-1] if self._turned(name) else shape
        return found

    def _turned(self, name: str) -> bool:
        """Whether a tensor that is not packed is stored with its inputs as rows."""
        tensor = self._places[name][0]
        return self._turns and len(tensor.shape) == 2 and tensor.dtype != "I8" and bool(_TURNED.search(name))

    def _stands_alone(self, tensor: TensorShape) -> bool:
        """Whether a tensor is a matrix or a vector of weights by itself."""
        if tensor.dtype == "I8":
            return f"{tensor.name.rpartition('.')[0]}.SCB" in self._places
        return tensor.dtype in ("F32", "F16", "BF16", "F64") and not self._beside(tensor.name)

    def _beside(self, name: str) -> bool:
        """Whether a float tensor is part of the encoding of another tensor."""
        stem, _, last = name.rpartition(".")
        return last in ("absmax", "quant_map", "nested_absmax", "nested_quant_map", "SCB") or (
            last == "scales" and f"{stem}.qweight" in self._places
        )

    @cached_property
    def _packed(self) -> dict[str, str]:
        """Map each packed tensor to the tensor in which bitsandbytes describes it, whose name contains the type."""
        return {name.partition(_PACKED_STATE)[0]: name for name in self._places if _PACKED_STATE in name}

    def _state(self, name: str) -> Mapping[str, Any]:
        told = self._packed.get(name)
        return json.loads(self._whole(told).tobytes()) if told else {}

    # ------------------------------------------------------------ reading

    def rows(self, name: str, places: NDArray[np.int64], columns: int) -> NDArray[np.float32]:
        stem = name.removesuffix(".weight")
        if f"{stem}.qweight" in self._places:
            return self._gptq(stem, places, columns)
        if state := self._state(name):
            return self._four_bits(name, state, places, columns)
        shape = self.shapes[name]
        made = self._array(name).reshape(shape[::-1]).T if self._turned(name) else self._array(name).reshape(shape)
        floats = _widened(made[places, :columns], self._places[name][0].dtype)
        if self._places[name][0].dtype == "I8":
            floats *= self._whole(f"{stem}.SCB")[places, None] / 127
        return floats

    def _array(self, name: str) -> Any:
        """The tensor, memory-mapped as it is stored; BF16 as unsigned 16-bit integers."""
        import numpy as np

        tensor, file, begin = self._places[name]
        dtype = "<u2" if tensor.dtype == "BF16" else _DTYPES[tensor.dtype]
        return np.memmap(file, dtype=dtype, mode="r", offset=begin, shape=tensor.shape or (1,))

    def _whole(self, name: str) -> Any:
        import numpy as np

        return np.asarray(self._array(name))

    def _four_bits(
        self, name: str, state: Mapping[str, Any], places: NDArray[np.int64], columns: int
    ) -> NDArray[np.float32]:
        """nf4 and fp4: two weights a byte, the high half first; each block of weights, counted along the rows, has a
        scale."""
        import numpy as np

        at = places[:, None] * self.shapes[name][1] + np.arange(columns)  # (R, C), weights counted from the first
        pairs = self._array(name).reshape(-1).view(np.uint8)[at // 2]
        codes = np.where(at % 2 == 0, pairs >> 4, pairs & 15)
        scales = self._scales(name, state)[at // int(state["blocksize"])]
        made: NDArray[np.float32] = self._whole(f"{name}.quant_map")[codes] * scales
        return made

    def _scales(self, name: str, state: Mapping[str, Any]) -> Any:
        """The scale of each block; under double quantization the stored scales index a table, and are scaled in blocks
        themselves."""
        import numpy as np

        told = self._whole(f"{name}.absmax")
        if f"{name}.nested_absmax" not in self._places:
            return told
        wide = np.repeat(self._whole(f"{name}.nested_absmax"), int(state["nested_blocksize"]))[: len(told)]
        return self._whole(f"{name}.nested_quant_map")[told] * wide + float(state["nested_offset"])

    def _gptq(self, stem: str, places: NDArray[np.int64], columns: int) -> NDArray[np.float32]:
        """Weights lie along the inputs, `bits` each in 32-bit words; inputs of a group share scale and zero point."""
        import numpy as np

        codes = _bits(self._array(f"{stem}.qweight")[:, places], self._bits, columns)  # (C, R)
        group = self._groups(stem, columns)
        zeros = _bits(self._whole(f"{stem}.qzeros").T, self._bits, self.shapes[f"{stem}.weight"][0]).T[:, places]
        plus = 0 if self._told.get("checkpoint_format") == "gptq_v2" else 1  # the older format stores one less
        scales = _widened(self._whole(f"{stem}.scales"), self._places[f"{stem}.scales"][0].dtype)[:, places]
        made: NDArray[np.float32] = ((codes - zeros[group] - plus) * scales[group]).T.astype(np.float32)
        return made

    def _groups(self, stem: str, columns: int) -> Any:
        """The group of each of the first `columns` inputs: as stored, else consecutive inputs of equal groups."""
        import numpy as np

        if f"{stem}.g_idx" in self._places:
            return self._whole(f"{stem}.g_idx")[:columns]
        groups = self._places[f"{stem}.scales"][0].shape[0]
        return np.arange(columns) // -(-self.shapes[f"{stem}.weight"][1] // groups)


def _widened(values: Any, dtype: str) -> NDArray[np.float32]:
    """Stored numbers as float32; a BF16 number is the upper half of its float32."""
    import numpy as np

    wide: NDArray[np.float32] = (values.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else values
    return wide.astype(np.float32)


def _flat(shape: tuple[int, ...]) -> Shape:
    return (prod(shape[:-1]), shape[-1]) if shape else (1, 1)


def _bits(words: Any, bits: int, count: int) -> NDArray[np.int64]:
    """The first `count` numbers of `bits` bits, packed from the low end along the first axis of 32-bit `words` (W, N),
    as (count, N). A number may lie across two words."""
    import numpy as np

    start = np.arange(count) * bits
    needed = int(start[-1] + bits - 1) // 32 + 1
    wide = np.concatenate([np.asarray(words[:needed]).view(np.uint32), np.zeros((1, words.shape[1]), np.uint32)])
    both = wide[:-1].astype(np.uint64) | (wide[1:].astype(np.uint64) << np.uint64(32))
    shifted = both[start // 32] >> (start % 32).astype(np.uint64)[:, None]
    numbers: NDArray[np.int64] = (shifted & np.uint64((1 << bits) - 1)).astype(np.int64)
    return numbers
