"""The ggml types that a tensor may take, their sizes, and maps from tensor to type as people read and write them.

A map is a file for llama-quantize's `--tensor-type-file`: words of the form PATTERN=TYPE, the first pattern that is
found in a tensor's name decides (tools/quantize/quantize.cpp, llama-quant.cpp). Knows no library and no quantization
error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from lqmf.errors import UsageError, of_system
from lqmf.model_files.gguf_header import GgufHeader, Tensor
from lqmf.model_files.tensor_types import KINDS
from lqmf.quantization.gguf.converter.header import file_bytes
from lqmf.units import file_size

CANDIDATES = (
    "iq2_xxs", "iq2_xs", "iq2_s", "q2_K", "iq3_xxs", "iq3_s", "q3_K", "iq4_xs", "iq4_nl", "q4_0", "q4_K", "q4_1",
    "q5_0", "q5_K", "q5_1", "q6_K", "q8_0", "f16",
)  # fmt: skip
_ABORTS = ("iq2_xxs", "iq2_xs")  # libggml ends the process when it is to write these without an importance
_POOR = (*_ABORTS, "iq2_s", "iq3_xxs")  # llama-quantize refuses these without one, but for the two ends of a model
_ENDS = ("token_embd.weight", "output.weight")
_SPELLING = {kind: re.sub(r"^(q\d)_k$", r"\1_K", kind) for kind in KINDS}
_HEAD = "output"
RESERVE_BYTES = 2048  # of a file, for the keys that are added to its header


@dataclass(frozen=True)
class Bounds:
    """The smallest and the largest file, in bytes, that a choice of types can give."""

    smallest_bytes: int
    largest_bytes: int

    def check(self, target_bytes: int) -> None:
        """Raise UsageError if `target_bytes` is below the smallest file or above the largest."""
        if target_bytes < self.smallest_bytes:
            raise UsageError(
                f"{file_size(target_bytes)} is too small: the smallest file that this model can become has "
                f"{file_size(self.smallest_bytes)} ({self.smallest_bytes} bytes).",
                f"Say `--target-size {self.smallest_bytes}B`, or more.",
            )
        if target_bytes > self.largest_bytes:
            raise UsageError(
                f"{file_size(target_bytes)} is more than the model itself: in 16 bits it has "
                f"{file_size(self.largest_bytes)} ({self.largest_bytes} bytes).",
                f"Say `--target-size {self.largest_bytes}B`, or less, or `--type F16`.",
            )


def bounds(
    header: GgufHeader,
    changeable: Collection[str],
    keep: Mapping[str, str] | None = None,
    *,
    importance: Collection[str] | None = None,
    fast: bool = False,
    reserve_bytes: int = RESERVE_BYTES,
) -> Bounds:
    """Return the smallest and the largest file that the model with this (16-bit) `header` can become; the smallest
    leaves `reserve_bytes` for keys added to the header.

    `changeable` are the tensors that llama-quantize would quantize; `keep` those whose type is fixed; `importance`
    those that an importance matrix has (None: all but the two ends).
    """
    fixed = keep or {}
    small, large = [], []
    for tensor in header.tensors:
        if tensor.name in fixed:
            choices: Sequence[str] = (fixed[tensor.name],)
        elif tensor.name in changeable:
            known = tensor.name not in _ENDS if importance is None else tensor.name in importance
            choices = candidates(tensor, importance=known, fast=fast)
        else:
            choices = (tensor.type.lower(),)
        sizes = [size_bytes(tensor, kind) for kind in choices]
        small.append(min(sizes))
        large.append(max(sizes))
    return Bounds(file_bytes(header, small) + reserve_bytes, file_bytes(header, large))


def candidates(tensor: Tensor, *, importance: bool, fast: bool = False) -> tuple[str, ...]:
    """Return the types that `tensor` may take, the smallest first and its own last: larger types gain nothing. Its rows
    must be whole blocks, the smallest types need an importance, and `fast` leaves out the i-types, which are slow on a
    CPU."""
    own = size_bytes(tensor, tensor.type)
    barred = () if importance else _ABORTS if tensor.name in _ENDS else _POOR
    fit = [kind for kind in CANDIDATES if not tensor.shape[0] % KINDS[kind.lower()].block and kind not in barred]
    smaller = (kind for kind in fit if not (fast and kind.startswith("iq")) and size_bytes(tensor, kind) < own)
    return (*smaller, spelled(tensor.type))


def size_bytes(tensor: Tensor, kind: str) -> int:
    """Return the bytes that the tensor takes as `kind`, without the padding up to the alignment."""
    block = KINDS[kind.lower()]
    return prod(tensor.shape) // block.block * block.block_bytes


def spelled(kind: str) -> str:
    """Return a type as llama.cpp spells it ("q4_K"), from any case. Raises UsageError for an unknown type."""
    if (found := kind.lower()) in _SPELLING:
        return _SPELLING[found]
    raise UsageError(f"GGUF has no tensor type called '{kind}'.", f"Choose among {', '.join(CANDIDATES)}.")


# ---------------------------------------------------------------- patterns


def parse_keep(words: Iterable[str]) -> dict[str, str]:
    """Return the patterns of PATTERN=TYPE words, as `--keep output=Q8_0` gives them, each with its type. Raises
    UsageError for a word of another form, or an unknown type."""
    pairs: dict[str, str] = {}
    for word in words:
        pattern, found, kind = word.rpartition("=")
        if not (found and pattern and kind):
            raise UsageError(f"'{word}' does not say which tensors take which type.", "Write it as output=Q8_0.")
        pairs.setdefault(pattern, spelled(kind))
    return pairs


def match(pairs: Mapping[str, str], tensors: Sequence[Tensor]) -> dict[str, str]:
    """Return the tensors that the patterns name, each with the type of the first pattern that names it. A tensor's
    whole name, with or without ".weight", names that tensor alone; "output" names the embedding where the model has no
    head of its own.

    Raises UsageError for a pattern that names no tensor or is no regular expression, and for a type that the tensor's
    rows do not fit.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    made: dict[str, str] = {}
    for pattern, kind in pairs.items():
        found = _named(pattern, by_name)
        if not found:
            raise UsageError(
                f"This model has no tensor that '{pattern}' names.",
                f"Its tensors are called {', '.join(sorted(by_name)[:3])}, and so on.",
            )
        for name in found:
            _check_fit(by_name[name], kind)
            made.setdefault(name, kind)
    return made


def _named(pattern: str, names: Mapping[str, Tensor]) -> list[str]:
    whole = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    if pattern == _HEAD and "output.weight" not in names and "token_embd.weight" in names:
        return ["token_embd.weight"]
    for name in (whole, f"{whole}.weight"):
        if name in names:
            return [name]
    try:
        searched = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"'{pattern}' is no pattern for names: {error}.", "Write it as ffn_down=Q6_K.") from error
    return [name for name in names if searched.search(name)]


def _check_fit(tensor: Tensor, kind: str) -> None:
    block = KINDS[kind.lower()]
    if tensor.shape[0] % block.block:
        raise UsageError(
            f"{tensor.name} cannot be {block.name}: its rows of {tensor.shape[0]} weights are no whole blocks of "
            f"{block.block}.",
            "Choose Q8_0, Q5_0 or Q4_0 for it.",
        )


# ---------------------------------------------------------------- files


def write_tensor_types(types: Mapping[str, str], path: Path) -> None:
    """Write `types` for llama-quantize: a line for each tensor, its whole name between anchors, because "output.weight"
    alone is also found in "blk.0.attn_output.weight". Raises DiskFull, LqmfError."""
    lines = [f"^{name}$={kind}" for name, kind in types.items()]
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fresh.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise of_system(error) from error
