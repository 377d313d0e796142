"""Describes a model from its files: config, tokenizer, shards. Knows folders and file lists; knows no network."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lqmf.errors import IncompleteModel, UnsafeFormat, UnsupportedModel
from lqmf.model_files import safetensors_header, selection
from lqmf.model_files.refs import DEMO_FOLDER, printable
from lqmf.records import ModelInfo, ModelRef, RemoteFile

ADAPTER_CONFIG = "adapter_config.json"
LFS_POINTER_BYTES = 1024  # a pointer is smaller
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length")


def local_folder(ref: ModelRef) -> Path:
    """Return the folder that a local reference names, or the demo's folder if the reference has no path."""
    return Path(ref.path) if ref.path else DEMO_FOLDER


def describe_folder(ref: ModelRef, folder: Path, *, commit: str | None = None, links: Path | None = None) -> ModelInfo:
    """Return the ModelInfo of a model on disk: the user's own folder, the demo, or a snapshot in the Hugging Face
    cache.

    Links in a snapshot may lead to files inside the folder, or inside `links` (the cache's blobs); a user's own folder
    may hold any. Raises UnsafeFormat for other links, IncompleteModel for a missing shard or config, UnsupportedModel
    for an adapter or a GGUF in a model's place.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    index = selection.index_of(names)
    small = {
        name: parse_json(name, (folder / name).read_bytes())
        for name in (selection.CONFIG, selection.TOKENIZER_CONFIG, index)
        if name in names
    }
    choice = selection.choose(names, small.get(index) if index else None)
    if not choice.weights:
        told = (folder / ADAPTER_CONFIG).read_bytes() if ADAPTER_CONFIG in names else None
        adapter = parse_json(ADAPTER_CONFIG, told) if told is not None else None
        refuse_what_is_no_model(str(folder), names, adapter, None, folder)
    if selection.CONFIG not in small:
        raise no_config(str(folder))
    allowed = [folder.resolve(), links.resolve()] if links else _of_a_snapshot(folder)
    files = {path: _on_disk(folder, path, allowed) for path in choice.paths}
    info = assemble(ref, commit, small[selection.CONFIG], small, choice, files)
    return counted(info, folder)


def counted(info: ModelInfo, folder: Path) -> ModelInfo:
    """Return `info` with the number of parameters and their dtype, read from the headers of the weights in `folder` if
    the Hub did not give the number. Raises UnsafeFormat, IncompleteModel."""
    if info.parameters:
        return info
    counts: Counter[str] = Counter()
    for file in info.files:
        if file.path.endswith(".safetensors"):
            counts += safetensors_header.read(folder / file.path).elements
    return replace(info, parameters=counts.total() or None, dtype=most_common(counts) or info.dtype)


def _of_a_snapshot(folder: Path) -> list[Path]:
    """Return where the links of a snapshot of the Hugging Face cache may lead, into it and its blobs beside
    `snapshots/`; for other folders the root of all."""
    whole = folder.resolve()
    return [whole, whole.parent.parent / "blobs"] if whole.parent.name == "snapshots" else [Path(whole.anchor)]


def _on_disk(folder: Path, name: str, allowed: list[Path]) -> RemoteFile:
    path = folder / name
    target = path.resolve()
    if not any(target.is_relative_to(root) for root in allowed):
        raise UnsafeFormat(
            f"{printable(name)} in {folder} is a link that leads out of the folder.",
            "Copy the file it points to into the folder, or name the folder where the real files are.",
        )
    size = target.stat().st_size
    if size <= LFS_POINTER_BYTES:
        refuse_lfs_pointer(name, target.read_bytes())
    return RemoteFile(name, size)


def assemble(
    ref: ModelRef,
    commit: str | None,
    config: Mapping[str, Any],
    small: Mapping[str, Mapping[str, Any]],
    choice: selection.Selection,
    files: Mapping[str, RemoteFile],
) -> ModelInfo:
    """Return the ModelInfo of `ref` from its `config`, the tokenizer's config (in `small`) and the chosen `files`."""
    tokenizer = small.get(selection.TOKENIZER_CONFIG, {})
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}
    architectures = config.get("architectures")
    return ModelInfo(
        ref=ref,
        commit=commit,
        architecture=_name(architectures[0]) if isinstance(architectures, list) and architectures else None,
        model_type=_name(config.get("model_type")),
        config=config,
        files=tuple(files[path] for path in choice.paths),
        weights_bytes=sum(files[path].size_bytes for path in choice.weights),
        context_length=_first_int(_CONTEXT_KEYS, config, text or {}),
        vocabulary=_first_int(("vocab_size", "padded_vocab_size"), config, text or {}),
        weights_format=choice.weights_format,
        has_tokenizer=choice.has_tokenizer,
        has_chat_template=_has_template(choice, tokenizer),
        wants_remote_code="auto_map" in config or "auto_map" in tokenizer,
        dtype=_config_dtype(config, text or {}),
    )


def _name(said: object) -> str | None:
    return printable(said, 80) if isinstance(said, str) else None


def _has_template(choice: selection.Selection, tokenizer: Mapping[str, Any]) -> bool:
    return bool(tokenizer.get("chat_template")) or any(path.startswith("chat_template.") for path in choice.small)


def _first_int(keys: tuple[str, ...], *configs: Mapping[str, Any]) -> int | None:
    values = (config.get(key) for config in configs for key in keys)
    return next((value for value in values if isinstance(value, int) and not isinstance(value, bool)), None)


def _config_dtype(*configs: Mapping[str, Any]) -> str | None:
    said = next((c.get("dtype") or c.get("torch_dtype") for c in configs if c.get("dtype") or c.get("torch_dtype")), "")
    return {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}.get(str(said))


def most_common(counts: Mapping[str, int]) -> str | None:
    """Return the dtype with the most parameters; None if `counts` is empty."""
    return max(counts, key=lambda name: counts[name]) if counts else None


def parse_json(path: str, body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in `body`. Raises UnsafeFormat for a symbolic link, IncompleteModel for any other content
    that is no JSON object."""
    if body.startswith(codecs.BOM_UTF8):
        raise IncompleteModel(
            f"{path} begins with a byte order mark, which transformers and llama.cpp's converter do not read.",
            f"Save it as UTF-8 without one: `sed -i '1s/^\\xEF\\xBB\\xBF//' {path}`.",
        )
    refuse_lfs_pointer(path, body)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        if looks_like_a_link(body):
            raise link_refused(path) from None
        content = None
    if not isinstance(content, dict):
        raise IncompleteModel(f"{path} is not readable as JSON.", "Use another revision or repository of this model.")
    return content


def refuse_lfs_pointer(name: str, body: bytes) -> None:
    """Raises IncompleteModel for what git leaves in place of a large file that was not fetched."""
    if body.startswith(b"version https://git-lfs.github.com/spec"):
        raise IncompleteModel(
            f"{printable(name)} is git-lfs's pointer to the file, not the file itself.",
            "Run `git lfs install && git lfs pull` in its folder.",
        )


def refuse_what_is_no_model(
    what: str, names: Iterable[str], adapter: Mapping[str, Any] | None, base: str | None, folder: Path | None
) -> None:
    """Raise UnsupportedModel for files without a model's weights that hold something else: an adapter, whose
    configuration is `adapter`, or GGUF files. `what` is the folder or the repository's id, `base` the model that its
    card says it was made from, `folder` where it lies; None: on the Hub."""
    if adapter is not None:
        told = adapter.get("base_model_name_or_path")
        model = printable(told) if isinstance(told, str) and told else base or "MODEL"
        place = folder or f"./{what.rpartition('/')[2]}"
        fetch = "" if folder else f"`hf download {what} --local-dir {place}`, then "
        raise UnsupportedModel(
            f"{what} holds an adapter{f' of {model}' if model != 'MODEL' else ''}, no model.",
            f"Merge it into its model on the way: {fetch}`lqmf quantize {model} --adapter {place}`.",
        )
    if files := sorted(name for name in names if name.lower().endswith(".gguf")):
        run = f"`lqmf test {folder / files[0]}` measures it as it is. " if folder else ""
        raise UnsupportedModel(
            f"{what} holds no model's own weights, but a GGUF that is made already ({printable(files[0])}).",
            f"{run}To quantize anew: {f'`lqmf quantize {base}`' if base else 'name the model that it was made from'}.",
        )


def no_config(what: str) -> IncompleteModel:
    """Return the error for a model without a config.json: no library that LQMF uses can read its weights."""
    return IncompleteModel(f"{what} has no config.json.", "Name the repository or folder that holds the model's own.")


def looks_like_a_link(body: bytes) -> bool:
    """Return whether a file that should hold JSON or a tokenizer holds only a path, as git keeps a symbolic link."""
    plain = b"\n" not in body.strip() and b"{" not in body and b" " not in body and not body.startswith(b"[")
    return 0 < len(body) < 1024 and plain


def link_refused(path: str) -> UnsafeFormat:
    """Return the error for a symbolic link in a repository; such links are never followed and never created."""
    return UnsafeFormat(
        f"{printable(path)} in the repository is a symbolic link, not a file.",
        "Use another repository of this model, one that holds the files themselves.",
    )
