"""The sources of the converter's lazy tensors: which bytes of which weight files they need, and the operations on them.

Follows a lazy tensor (gguf-py's `LazyBase`) down to the weight files. Where nothing but casts and changes of shape lie
between, the tensor is known row by row, or at least in its own narrow type; anything else the converter must evaluate
itself. Runs in the converter's process. Knows no output types and reads nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

_CASTS = frozenset({"to", "float", "half", "bfloat16", "double", "type"})
_SHAPES = frozenset(
    {"reshape", "view", "view_as", "permute", "transpose", "swapaxes", "swapdims", "movedim", "t", "T", "mT", "squeeze"}
    | {"unsqueeze", "flatten", "unflatten", "contiguous", "clone", "detach", "__getitem__", "chunk", "split", "narrow"}
)


@dataclass(frozen=True)
class Leaf:
    """A tensor in a weight file, before anything is done to it. `size` is in bytes, `offset` counts from the file's
    start, `dtype` is torch's. `name` is Hugging Face's name for it."""

    file: str
    offset: int
    size: int
    dtype: Any
    shape: tuple[int, ...]
    name: str


@dataclass(frozen=True)
class Part:
    """Equally long rows made from one leaf by changes of shape, in order, and then casts (which commute with them).

    `start` is the leaf's element where the rows begin, if they lie in it one after another as they are; else None.
    """

    leaf: Leaf
    shapes: tuple[Callable[[Any], Any], ...]
    casts: tuple[Any, ...]
    rows: int
    start: int | None


@dataclass(frozen=True)
class Rows:
    """A tensor as parts that follow one another along its rows."""

    parts: tuple[Part, ...]


class NotRows(Exception):
    """The tensor is not made of rows of weight files by casts and changes of shape; only the converter can evaluate
    it."""


def understand(node: Any, leaf_of: Callable[[Any], Leaf | None]) -> Rows | None:
    """Return `node` (a lazy torch tensor) as rows of weight files; None if it is not made of such rows. `leaf_of`
    returns the leaf of a node that is a weight in a file, and None for other nodes."""
    try:
        return Rows(tuple(_parts(node, leaf_of)))
    except NotRows:
        return None


def leaves(node: Any, leaf_of: Callable[[Any], Leaf | None]) -> Iterator[Leaf]:
    """Yield every leaf that a lazy tensor needs, but for leaves of data that is already evaluated."""
    pending, seen = [node], set[int]()
    while pending:
        item = pending.pop()
        if isinstance(item, list | tuple):
            pending.extend(item)
        elif hasattr(item, "_func") and hasattr(item, "_args") and id(item) not in seen:
            seen.add(id(item))
            if (leaf := leaf_of(item)) is not None:
                yield leaf
            elif item._data is None:
                pending.extend([item._args, tuple(item._kwargs.values())])


def _parts(node: Any, leaf_of: Callable[[Any], Leaf | None]) -> Iterator[Part]:
    casts: list[Any] = []
    while (cast := _cast(node, leaf_of)) is not None:
        casts.append(cast)
        node = node._args[0]
    if leaf_of(node) is None and _operation(node) in ("stack", "cat", "concat") and _along_rows(node):
        for piece in node._args[0]:
            for part in _parts(piece, leaf_of):
                yield Part(part.leaf, part.shapes, (*part.casts, *reversed(casts)), part.rows, part.start)
        return
    yield from _changed(node, leaf_of, list(reversed(casts)))


def _along_rows(node: Any) -> bool:
    """Whether tensors are put together so that their rows follow one another."""
    dim = node._kwargs.get("dim", node._args[1] if len(node._args) > 1 else 0)
    return dim == 0 and len(node._args[0][0]._meta.shape) > 1


def _changed(node: Any, leaf_of: Callable[[Any], Leaf | None], casts: list[Any]) -> Iterator[Part]:
    """The parts of a tensor that comes of one leaf."""
    shape, shapes, inner = tuple(node._meta.shape), list[Callable[[Any], Any]](), list[Any]()
    while (leaf := leaf_of(node)) is None:
        if node._data is not None:
            raise NotRows
        if (cast := _cast(node, leaf_of)) is not None:
            inner.append(cast)
            node = node._args[0]
        else:
            change, node = _shape_change(node)
            shapes.append(change)
    shapes.reverse()
    changes, all_casts = tuple(shapes), (*reversed(inner), *casts)
    for start, rows in _stretches(leaf, shapes) or [(None, prod(shape[:-1]))]:
        yield Part(leaf, changes, all_casts, rows, start)


def _cast(node: Any, leaf_of: Callable[[Any], Leaf | None]) -> Any | None:
    """The type that `node` casts its one argument to; None where it does anything else."""
    if leaf_of(node) is not None or node._data is not None or _operation(node) not in _CASTS:
        return None
    source, result = node._args[0]._meta, node._meta
    return result.dtype if source.shape == result.shape else None


def _shape_change(node: Any) -> tuple[Callable[[Any], Any], Any]:
    """Return the change of shape that `node` makes, as a function of a tensor, and the node that it changes. Raises
    NotRows for any other operation."""
    name, function, args = _operation(node), node._func, node._args
    kwargs, place = node._kwargs, None
    if (
        args and isinstance(args[0], list) and _captured(function, "fn")
    ):  # one of several results, which share what they are made of
        function, place = _captured(node._func, "fn"), args[1]
        args = args[0][0]
    if name not in _SHAPES or not args or not hasattr(args[0], "_func") or any(_is_lazy(arg) for arg in args[1:]):
        raise NotRows
    if node._meta.dtype != args[0]._meta.dtype:  # a view as another type, which does not commute with casts
        raise NotRows
    rest = args[1:]

    def change(tensor: Any) -> Any:
        made = function(tensor, *rest, **kwargs)
        return made if place is None else made[place]

    return change, args[0]


def _is_lazy(argument: Any) -> bool:
    if isinstance(argument, list | tuple):
        return any(map(_is_lazy, argument))
    return hasattr(argument, "_func") and hasattr(argument, "_meta")


def _operation(node: Any) -> str:
    """The name of the method or function that makes `node`; empty where it cannot be told."""
    function = node._func
    while (inner := _captured(function, "fn")) is not None:  # what gguf-py wraps that returns several tensors
        function = inner
    name = _captured(function, "name")  # what it wraps that is a method
    if isinstance(name, str):
        return name
    return str(getattr(function, "__name__", ""))


def _captured(function: Any, variable: str) -> Any | None:
    code = getattr(function, "__code__", None)
    if code is None or variable not in code.co_freevars:
        return None
    return function.__closure__[code.co_freevars.index(variable)].cell_contents


def _stretches(leaf: Leaf, shapes: Sequence[Callable[[Any], Any]]) -> list[tuple[int | None, int]] | None:
    """Return the stretches of the leaf (first element, rows) that make up the result, if each of its matrices is one
    stretch, else None: tried on a tensor without data."""
    import torch

    before = torch.empty(leaf.shape, dtype=leaf.dtype, device="meta")
    after = before
    for change in shapes:
        after = change(after)
    if after.untyped_storage()._cdata != before.untyped_storage()._cdata:
        return None  # a copy
    if after.is_contiguous():
        return [(int(after.storage_offset()), prod(after.shape[:-1]))]
    leading = after.shape[:-2]
    if not leading or not after[(0,) * len(leading)].is_contiguous():
        return None
    matrices = (after[place] for place in itertools.product(*map(range, leading)))
    return [(int(matrix.storage_offset()), matrix.shape[0]) for matrix in matrices]
