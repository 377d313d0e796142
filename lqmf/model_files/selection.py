"""Chooses the files of a repository that quantizing needs. Pure: takes paths, returns a choice; reads and fetches no
file."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lqmf.errors import IncompleteModel, UnsafeFormat
from lqmf.model_files.refs import printable

CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"
_SMALL = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "vocab.json", "vocab.txt", "merges.txt", "special_tokens_map.json", "added_tokens.json", "tekken.json",
    "spiece.model", "sentencepiece.bpe.model", "*.tiktoken", "tokenizer.model.v*", "rwkv_vocab*.txt",
    "chat_template.jinja", "chat_template.json", "hf_quant_config.json", "modules.json",
    "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*",
)  # fmt: skip
_BELOW = ("1_Pooling/config.json", "additional_chat_templates/*.jinja")  # in folders of the model's
_TOKENIZERS = (
    "tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model", "tekken.json",
    "sentencepiece.bpe.model", "*.tiktoken", "tokenizer.model.v*", "rwkv_vocab*.txt",
)  # fmt: skip
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_PICKLED_BUT_NO_WEIGHTS = ("training_args.bin", "optimizer.*", "scheduler.*", "rng_state*", "scaler.pt")
_DUPLICATE = re.compile(r"consolidated|adapter_|\.(?:fp32|fp16|bf16|int8|ema|non_ema)\b|(?:fp32|ema)-", re.IGNORECASE)
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")
_HOW_SAFETENSORS = (
    "Use a repository of this model with *.safetensors files, or convert it: "
    "https://huggingface.co/spaces/safetensors/convert opens a pull request, which org/name@refs/pr/N names"
)


@dataclass(frozen=True)
class Selection:
    """The chosen files: `weights` in shard order; `small` are all other needed files (index, config, tokenizer,
    licence)."""

    weights: tuple[str, ...]
    small: tuple[str, ...]
    weights_format: Literal["safetensors", "pickle", "none"]

    @property
    def paths(self) -> tuple[str, ...]:
        """Return all chosen paths, each once, sorted."""
        return tuple(sorted({*self.weights, *self.small}))

    @property
    def has_tokenizer(self) -> bool:
        return any(map(is_tokenizer, self.small))


def refuse_unsafe_paths(paths: Iterable[str]) -> None:
    """Raise UnsafeFormat for a path that could leave the folder it is written to, on any system."""
    for path in paths:
        if not _is_safe(path):
            raise UnsafeFormat(
                f"The repository lists a file named '{printable(path)}', which leads out of its folder.",
                "Do not use this repository; report it to the Hub.",
            )


def pickle_refused(model: str) -> UnsafeFormat:
    """Return the error for a model with pickled weights only: they are not even fetched."""
    return UnsafeFormat(
        f"{model} has pickled weights only (*.bin, *.pt): unpickling runs code from the file, so LQMF never does.",
        _HOW_SAFETENSORS,
    )


def index_of(paths: Iterable[str]) -> str | None:
    """Return the path of the shard index, which is read before choosing; None if `paths` has no index."""
    found = sorted(p for p in paths if "/" not in p and p.endswith(".safetensors.index.json") and not is_duplicate(p))
    return "model.safetensors.index.json" if "model.safetensors.index.json" in found else next(iter(found), None)


def choose(paths: Iterable[str], index: Mapping[str, Any] | None) -> Selection:
    """Return the files to fetch of a repository's `paths`; `index` is the content of the file `index_of(paths)`.

    Raises IncompleteModel if a shard is missing, UnsafeFormat if the index names a path outside the folder.
    """
    paths = set(paths)
    names = {path for path in paths if "/" not in path}
    small = {name for name in names if _matches(name, _SMALL)} | {path for path in paths if _matches(path, _BELOW)}
    candidates = {name for name in names if name.endswith(".safetensors") and not is_duplicate(name)}
    shards = _indexed(index) if index is not None else ()
    if shards and not set(shards) <= names and "model.safetensors" not in candidates:
        raise _missing(sorted(set(shards) - names))
    if shards and set(shards) <= names:
        found = index_of(names)
        return Selection(shards, tuple(sorted(small | ({found} if found else set()))), "safetensors")
    weights = _unindexed(candidates)
    if weights:
        return Selection(weights, tuple(sorted(small)), "safetensors")
    pickled = any(_matches(name, _PICKLED) and not _matches(name, _PICKLED_BUT_NO_WEIGHTS) for name in names)
    return Selection((), tuple(sorted(small)), "pickle" if pickled else "none")


def _unindexed(candidates: set[str]) -> tuple[str, ...]:
    if "model.safetensors" in candidates:
        return ("model.safetensors",)
    sharded = [match for name in sorted(candidates) if (match := _SHARD.fullmatch(name))]
    if sharded:
        stem = next((m["stem"] for m in sharded if m["stem"] == "model"), sharded[0]["stem"])
        count = next(m["count"] for m in sharded if m["stem"] == stem)
        wanted = tuple(f"{stem}-{n:05d}-of-{count}.safetensors" for n in range(1, int(count) + 1))
        if not set(wanted) <= candidates:
            raise _missing(sorted(set(wanted) - candidates))
        return wanted
    return (next(iter(candidates)),) if len(candidates) == 1 else ()


def _indexed(index: Mapping[str, Any]) -> tuple[str, ...]:
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        raise IncompleteModel("The shard index names no files.", "Use another revision or repository of this model.")
    shards = tuple(sorted(set(weight_map.values())))
    refuse_unsafe_paths(shards)
    return shards if all(shard.endswith(".safetensors") for shard in shards) else ()


def _missing(shards: list[str]) -> IncompleteModel:
    more = f" and {len(shards) - 3} more" if len(shards) > 3 else ""
    return IncompleteModel(
        f"The model is incomplete: {', '.join(printable(s) for s in shards[:3])}{more} is missing.",
        "Use another revision (org/name@revision), or ask the model's author to upload it whole.",
        missing=shards,
    )


def _is_safe(path: str) -> bool:
    parts = path.split("/")
    return (
        bool(path)
        and "\\" not in path
        and not re.match(r"[A-Za-z]:", path)
        and all(part not in ("", ".", "..") for part in parts)
        and path == printable(path, limit=4096)
    )


def is_tokenizer(name: str) -> bool:
    """Whether a file of that name can hold a tokenizer's vocabulary."""
    return _matches(name, _TOKENIZERS)


def is_duplicate(name: str) -> bool:
    """Return whether a weights file repeats other files in another format or precision, or is an adapter."""
    return bool(_DUPLICATE.search(name))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
