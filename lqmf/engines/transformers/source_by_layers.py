"""Runs a model from its safetensors shards in the memory of one layer: each layer's weights are read when the hidden
states reach it, and dropped when they have passed.

transformers' own modelling code computes, in float32, from the model's own `forward`; its own loader renames and
converts the tensors. The model is made without weights, and hooks on its parts fetch them. The embedding gives the
rows that are asked for, the head is multiplied in pieces. Runs in the worker process only. Knows tokens and logits;
nothing of GGUF or of measuring.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.engines import limits
from lqmf.engines.promise import Closing
from lqmf.engines.transformers import loading
from lqmf.errors import DoesNotFit, IncompleteModel, UnsupportedModel
from lqmf.ggml import library
from lqmf.model_files import safetensors_folder, safetensors_header
from lqmf.units import memory_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Report = Callable[[int, int], None]  # (layers that the windows are through, of how many)
_FLOAT_BYTES = 4
_HEAD_ROWS = 8192  # of the output matrix in memory at once
_LARGE_TABLE = 16384  # rows of an embedding from which on only those that are asked for are read
_COPIES = 2  # of a layer's weights while transformers' loader converts them
_ROOM = 0.8  # of the free memory, for these


@dataclass(frozen=True)
class Part:
    """A module whose weights come and go together: a layer, a norm, a matrix. `tensors` are its own, by their names in
    the model; `keys` are theirs in the files."""

    module: Any
    tensors: tuple[str, ...]
    keys: tuple[str, ...]
    is_layer: bool


class LayeredSource(Closing):
    """The model in `folder`, on the CPU or a GPU (`device` "auto" takes one where there is one).

    Raises UnsupportedModel for a model that transformers cannot run so, or whose weights are quantized already,
    IncompleteModel where tensors are missing, DoesNotFit where not even one layer has room, RemoteCodeRefused,
    UnsafeFormat.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        if (how := safetensors_folder.scheme(folder)) is not None:
            raise UnsupportedModel(
                f"The weights of {folder.name} are quantized already ({how.method}): they are not run layer by layer.",
                "Name the model that it was made from.",
            )
        self._folder = folder
        self._files = {
            tensor.name: file
            for file in safetensors_header.weights(folder)
            for tensor in safetensors_header.read(file).tensors
        }
        with loading.translated(folder.name):
            import torch

            torch.set_num_threads(library.threads())
            self.device = "cuda:0" if device != "cpu" and torch.cuda.is_available() else "cpu"
            self._model, self._loader, self._keys = _without_weights(folder, self._files, self.device)
            self._empty = _empty_tensors(self._model)
            self._parts = list(_parts(self._model, self._empty, self._keys))
            self._refuse_too_large()
            self._settle()
            self._hook()
        text = self._model.config.get_text_config()
        self.name = f"transformers {version('transformers')} (float32)"
        self.vocabulary: int = text.vocab_size
        self.context_length: int | None = getattr(text, "max_position_embeddings", None)
        self.sliding_window: int | None = getattr(text, "sliding_window", None)

    def logits(
        self, windows: Sequence[Sequence[int]], *, first: int = 0, report: Report | None = None
    ) -> NDArray[np.float32]:
        """Logits (B, T - first, V) of B windows of T token ids each, at the positions from `first` on. One pass through
        the shards serves all windows; `report` hears of each layer, and what it raises ends the pass."""
        import torch

        for window in windows:
            limits.check_tokens(window, self.vocabulary)
        self._first, self._report, self._through = first, report, 0
        with loading.translated(self._folder.name), torch.inference_mode():
            ids = torch.tensor([list(window) for window in windows], device=self.device)
            found = self._model(input_ids=ids, use_cache=False).logits
            rows: NDArray[np.float32] = found.float().cpu().numpy()
        return rows

    # ------------------------------------------------------------ before the first window

    def _refuse_too_large(self) -> None:
        """Raises DoesNotFit where the largest part has no room."""
        import psutil
        import torch

        largest = max(self._bytes(part) for part in self._parts if not self._is_read_in_pieces(part))
        free = psutil.virtual_memory().available if self.device == "cpu" else torch.cuda.mem_get_info()[0]
        if _COPIES * largest > _ROOM * free:
            raise DoesNotFit(
                f"One layer of {self._folder.name} takes {memory_size(_COPIES * largest)} in float32; "
                f"{memory_size(free)} are free.",
                "Close other programs, or measure on a machine with more memory.",
            )

    def _bytes(self, part: Part) -> int:
        return sum(_FLOAT_BYTES * math.prod(map(int, self._empty[name].shape)) for name in part.tensors)

    def _settle(self) -> None:
        """Put where it computes what stays for good: buffers that are in no file, tensors that belong to no part."""
        parts = {name for part in self._parts for name in part.tensors}
        self._load([key for name in self._empty if name not in parts for key in self._keys.get(name, ())])
        for name, buffer in self._model.named_buffers():
            if not buffer.is_meta:
                owner, _, own = name.rpartition(".")
                self._model.get_submodule(owner)._buffers[own] = buffer.to(self.device)

    def _hook(self) -> None:
        head = self._model.get_output_embeddings()
        if head is None or not hasattr(head, "weight"):
            raise UnsupportedModel(f"transformers names no output matrix in {self._folder.name}.", _NO_WAY)
        for part in self._parts:
            if part.module is head:
                self._hook_head(part)
                continue
            fetch = self._rows_asked_for if self._is_read_in_pieces(part) else self._whole
            part.module.register_forward_pre_hook(fetch(part))
            part.module.register_forward_hook(self._gone(part))

    def _is_read_in_pieces(self, part: Part) -> bool:
        """Whether it is the output matrix, or a large embedding that lies in the files as it is."""
        import torch

        if part.module is self._model.get_output_embeddings():
            return True
        table = isinstance(part.module, torch.nn.Embedding) and part.module.num_embeddings >= _LARGE_TABLE
        return table and len(part.keys) == 1

    # ------------------------------------------------------------ weights that come and go

    def _whole(self, part: Part) -> Callable[[Any, Any], None]:
        return lambda _module, _inputs: self._load(part.keys)

    def _gone(self, part: Part) -> Callable[[Any, Any, Any], None]:
        def drop(_module: Any, _inputs: Any, _found: Any) -> None:
            for name in part.tensors:
                owner, _, own = name.rpartition(".")
                setattr(self._model.get_submodule(owner), own, self._empty[name])
            if part.is_layer and self._report is not None:
                self._through += 1
                self._report(self._through, sum(each.is_layer for each in self._parts))

        return drop

    def _rows_asked_for(self, part: Part) -> Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]:
        """A hook that gives an embedding the rows that are asked for, and their places among these."""
        import torch

        def fetch(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            asked, places = torch.unique(inputs[0], return_inverse=True)
            with self._opened(part.keys) as tensors:
                (table,) = tensors.values()
                rows = torch.cat([table[row : row + 1] for row in asked.tolist()])
            module.weight = torch.nn.Parameter(rows.to(self.device, torch.float32), requires_grad=False)
            module.padding_idx = None
            return (places, *inputs[1:])

        return fetch

    def _hook_head(self, part: Part) -> None:
        """Multiply only the rows that count, with a piece of the output matrix after the other. Its weights may be the
        embedding's."""
        head = part.module
        same = [name for name, tensor in self._empty.items() if tensor is head.weight]
        key = next((self._keys[name] for name in same if name in self._keys), ())
        if len(key) != 1:
            raise UnsupportedModel(f"The output matrix of {self._folder.name} is not stored as it is used.", _NO_WAY)
        self._load([each for each in part.keys if each != key[0]])  # a bias
        head.forward = lambda states: self._multiplied(states[:, self._first :], key[0], head)

    def _multiplied(self, states: Any, key: str, head: Any) -> Any:
        import torch

        words = head.weight.shape[0]
        found = torch.empty((*states.shape[:-1], words), device=self.device)
        for start in range(0, words, _HEAD_ROWS):
            with self._opened((key,)) as tensors:
                rows = tensors[key][start : min(start + _HEAD_ROWS, words)].to(self.device, torch.float32)
            found[..., start : start + len(rows)] = states @ rows.T
        return found if getattr(head, "bias", None) is None else found.add_(head.bias)

    def _load(self, keys: Sequence[str]) -> None:
        """Give the model the tensors that are called `keys` in the files, by transformers' own loader."""
        from transformers.core_model_loading import convert_and_load_state_dict_in_model

        if keys:
            with self._opened(keys) as tensors:
                convert_and_load_state_dict_in_model(self._model, tensors, self._loader)

    @contextlib.contextmanager
    def _opened(self, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Slices of the tensors called `keys`, from which what is indexed is read. Files are mapped no longer than
        that: their pages count as this process's memory."""
        from safetensors import safe_open

        with contextlib.ExitStack() as stack:
            open_files = {
                file: stack.enter_context(safe_open(file, framework="pt", device="cpu"))
                for file in {self._files[key] for key in keys}
            }
            yield {key: open_files[self._files[key]].get_slice(key) for key in keys}

    # ------------------------------------------------------------ end

    def close(self) -> None:
        """Free what is left of the model; a second call does nothing."""
        self._model, self._empty, self._parts = None, {}, []
        loading.release()


_NO_WAY = "It can be run whole: `lqmf quantize MODEL --method bnb`."


# ---------------------------------------------------------------- the model without its weights


def _without_weights(folder: Path, files: Mapping[str, Path], device: str) -> tuple[Any, Any, dict[str, list[str]]]:
    """The model of `folder` with empty tensors; what transformers' loader is to be told; and by each tensor's name in
    the model its keys in the files (several where the loader joins them). Raises IncompleteModel."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.core_model_loading import convert_and_load_state_dict_in_model
    from transformers.models.auto.auto_factory import _get_model_class

    config = loading.configuration(folder, allow_remote_code=False)
    kind = _get_model_class(config, AutoModelForCausalLM._model_mapping)
    if kind.config_class is config.sub_configs.get("text_config"):
        config = config.get_text_config()
    told: list[Any] = []
    keys: dict[str, list[str]] = defaultdict(list)

    def list_alone(model: Any, _state: Any, _files: Any, loader: Any, expected_keys: Any = None) -> Any:
        told.append(dataclasses.replace(loader, device_map={"": device}))
        for key, name in _names(model, files, loader.weight_mapping or []):
            keys[name].append(key)
        empty = {key: torch.empty(shape, device="meta") for key, shape in _shapes(files)}
        where = dataclasses.replace(loader, device_map={"": "meta"})
        return convert_and_load_state_dict_in_model(model, empty, where)

    listing: Any = type(kind.__name__, (kind,), {"_load_pretrained_model": staticmethod(list_alone)})
    listing.__module__ = kind.__module__  # by which transformers knows its own classes
    model, report = listing.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    if report["missing_keys"]:
        raise IncompleteModel(
            f"{folder.name} lacks {len(report['missing_keys'])} tensors, such as {min(report['missing_keys'])}.",
            "Get the folder again.",
        )
    return model.eval(), told[0], dict(keys)


def _names(model: Any, keys: Iterable[str], mapping: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Each key of the files that the model has a place for, and the name of its tensor in the model."""
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    renamings = [one for one in mapping if isinstance(one, WeightRenaming)]
    converters = [one for one in mapping if isinstance(one, WeightConverter)]
    places, prefix = model.state_dict(), model.base_model_prefix
    for key in keys:
        name, _ = rename_source_key(key, renamings, converters, prefix, places)
        if name not in places and key in places:
            name, _ = rename_source_key(key, [], [], prefix, places)
        if name in places:
            yield key, name


def _shapes(files: Mapping[str, Path]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for file in dict.fromkeys(files.values()):
        for tensor in safetensors_header.read(file).tensors:
            yield tensor.name, tensor.shape


def _empty_tensors(model: Any) -> dict[str, Any]:
    """The model's tensors that have no numbers yet, by name; one that is tied stands there under each of its names."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: tensor for name, tensor in named if tensor.is_meta}


def _parts(model: Any, empty: Mapping[str, Any], keys: Mapping[str, Sequence[str]]) -> Iterator[Part]:
    """Every part of `model` that has tensors."""
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    for name, module, of_list in _modules(model, ""):
        own = tuple(each for each in empty if each.startswith(f"{name}."))
        if own:
            yield Part(module, own, tuple(key for each in own for key in keys.get(each, ())), of_list == layers)


def _modules(module: Any, place: str) -> Iterator[tuple[str, Any, int | None]]:
    """The modules below that are parts: what stands in a list of modules (with the list's length), and, where there are
    lists beside or below, every other module without one."""
    from torch.nn import ModuleList

    for own, child in module.named_children():
        name = f"{place}{own}"
        if isinstance(child, ModuleList):
            yield from ((f"{name}.{number}", each, len(child)) for number, each in enumerate(child))
        elif any(isinstance(each, ModuleList) for each in child.modules()):
            yield from _modules(child, f"{name}.")
        else:
            yield name, child, None
