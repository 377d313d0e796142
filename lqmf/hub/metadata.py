"""What is known of a model before its weights are fetched. Knows configs and file lists; downloads no weights.

A Hub model is asked about through the real client; a folder (and the demo) is read from its files.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lqmf.errors import GatedModel, IncompleteModel, IntegrityError, TransferError, UnsafeFormat
from lqmf.hub import safetensors_header, selection
from lqmf.hub.client import HubClient
from lqmf.hub.refs import DEMO_FOLDER, printable
from lqmf.records import ModelInfo, ModelRef, RemoteFile

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo as HubModelInfo

Access = Literal["open", "granted", "gated", "private"]
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length")
_SMALLEST_WEIGHTS_BYTES = 4096  # below it, a weights file outside LFS may be a symbolic link's text


async def inspect(ref: ModelRef, *, hub: HubClient) -> ModelInfo:
    """Everything known of `ref` without its weights.

    Raises ModelNotFound, Unauthorized, RateLimited, HubUnavailable, ConnectionBroken, Offline; UnsafeFormat for a
    hostile repository, IncompleteModel for a missing shard. A gated model is described with `access="gated"`.
    """
    if ref.kind != "hub":
        return await asyncio.to_thread(describe_folder, ref, local_folder(ref))
    return await _Inspection(ref, hub).run()


def local_folder(ref: ModelRef) -> Path:
    """The folder that a local reference, or the demo, means."""
    return Path(ref.path) if ref.path else DEMO_FOLDER


# ---------------------------------------------------------------- on the Hub


@dataclass(frozen=True)
class _Inspection:
    ref: ModelRef
    hub: HubClient

    async def run(self) -> ModelInfo:
        told = await self.hub.model_info(self.ref.id, self.ref.revision)
        commit = _commit(told)
        files = {file.path: file for file in _listed(told)}
        selection.refuse_unsafe_paths(files)
        access: Access = "granted" if told.gated or told.private else "open"
        try:
            small = await self._small_files(files, commit)
        except GatedModel:
            if access == "open":
                raise
            small, access = {}, "gated" if told.gated else "private"
        readable = access in ("open", "granted")
        choice = _choose(files, small, readable=readable)
        await self._refuse_links([files[path] for path in choice.weights if readable], commit)
        info = _assemble(self.ref, commit, _or_hub_config(small, told), small, choice, files)
        info = replace(info, access=access, license=_license(told))
        return await self._with_parameters(info, told)

    async def _small_files(self, files: Mapping[str, RemoteFile], commit: str) -> dict[str, Mapping[str, Any]]:
        wanted = [selection.CONFIG, selection.TOKENIZER_CONFIG, selection.index_of(files)]
        paths = [path for path in wanted if path and path in files]
        bodies = await asyncio.gather(*(self.hub.read_small(self.ref.id, p, commit) for p in paths))
        small = {p: _json(p, _verified(files[p], body)) for p, body in zip(paths, bodies, strict=True)}
        return small

    async def _refuse_links(self, weights: list[RemoteFile], commit: str) -> None:
        """Git keeps a symbolic link as a small file that holds its target; LFS never does."""
        for file in weights:
            if file.sha256 is None and file.size_bytes < _SMALLEST_WEIGHTS_BYTES:
                body = await self.hub.read_small(self.ref.id, file.path, commit)
                if body[8:9] != b"{":
                    raise link_refused(file.path)

    async def _with_parameters(self, info: ModelInfo, told: HubModelInfo) -> ModelInfo:
        counts: Mapping[str, int] = told.safetensors.parameters if told.safetensors else {}
        readable = info.access in ("open", "granted") and info.weights_format == "safetensors"
        if not counts and readable:
            counts = await self._counted(info.commit or "")
        if not counts:
            return info
        return replace(info, parameters=sum(counts.values()), dtype=_most(counts))

    async def _counted(self, commit: str) -> Mapping[str, int]:
        from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

        try:
            told = await self.hub.safetensors_metadata(self.ref.id, commit)
            return {str(dtype): count for dtype, count in told.parameter_count.items()}
        except (NotASafetensorsRepoError, SafetensorsParsingError, TransferError, IncompleteModel):
            return {}  # not known before the download; the size in bytes is


def _commit(told: HubModelInfo) -> str:
    commit = told.sha or ""
    if len(commit) != 40 or not all(c in "0123456789abcdef" for c in commit):
        raise IntegrityError(
            f"The Hub gave no commit for {told.id}.", "Check HF_ENDPOINT: the address may not be a Hub."
        )
    return commit


def _listed(told: HubModelInfo) -> list[RemoteFile]:
    return [
        RemoteFile(s.rfilename, s.lfs.size if s.lfs else s.size or 0, s.lfs.sha256 if s.lfs else None, s.blob_id)
        for s in told.siblings or ()
    ]


def _verified(file: RemoteFile, body: bytes) -> bytes:
    oid = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
    right = hashlib.sha256(body).hexdigest() == file.sha256 if file.sha256 else file.git_oid in (None, oid)
    if not right:
        raise IntegrityError(
            f"{file.path} has not the content that the Hub lists (its hash differs).",
            "Run the same command again; if it stays so, a proxy or mirror changes the files.",
        )
    return body


def _or_hub_config(small: Mapping[str, Mapping[str, Any]], told: HubModelInfo) -> Mapping[str, Any]:
    return small.get(selection.CONFIG) or {k: v for k, v in (told.config or {}).items() if k != "tokenizer_config"}


def _choose(
    files: Mapping[str, RemoteFile], small: Mapping[str, Mapping[str, Any]], *, readable: bool
) -> selection.Selection:
    index = selection.index_of(files)
    if index and not readable:  # a gated model: its index cannot be read yet, so all of its shards count
        shards = {path for path in files if path.endswith(".safetensors") and "/" not in path}
        return selection.choose(files, {"weight_map": {p: p for p in shards if not selection.is_duplicate(p)}})
    return selection.choose(files, small.get(index) if index else None)


def _license(told: HubModelInfo) -> str | None:
    card = told.card_data
    named = (card.get("license_name") if card.get("license") == "other" else card.get("license")) if card else None
    tagged = next((tag.removeprefix("license:") for tag in told.tags or () if tag.startswith("license:")), None)
    named = named[0] if isinstance(named, list) and named else named
    return printable(str(named or tagged), 80) if named or tagged else None


# ---------------------------------------------------------------- in a folder


def describe_folder(ref: ModelRef, folder: Path, *, commit: str | None = None, links: Path | None = None) -> ModelInfo:
    """The same from files on disk: the user's own folder, the demo, or a snapshot in the Hugging Face cache.

    Links may lead anywhere inside the folder, or inside `links` (the cache's blobs). Raises UnsafeFormat for others,
    IncompleteModel for a missing shard or config.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    index = selection.index_of(names)
    small = {
        name: _json(name, (folder / name).read_bytes())
        for name in (selection.CONFIG, selection.TOKENIZER_CONFIG, index)
        if name in names
    }
    choice = selection.choose(names, small.get(index) if index else None)
    if selection.CONFIG not in small:
        raise IncompleteModel(f"{folder} has no config.json.", "Name the folder that holds the model's config.json.")
    allowed = [folder.resolve(), *([links.resolve()] if links else _blobs_beside(folder))]
    files = {path: _on_disk(folder, path, allowed) for path in choice.paths}
    info = _assemble(ref, commit, small[selection.CONFIG], small, choice, files)
    counts: Counter[str] = Counter()
    for path in choice.weights:
        counts += safetensors_header.read(folder / path).elements
    license_file = next((p for p in choice.small if p.startswith(("LICENSE", "LICENCE"))), None)
    return replace(info, parameters=counts.total() or None, dtype=_most(counts), access="open", license=license_file)


def _blobs_beside(folder: Path) -> list[Path]:
    """A snapshot of the Hugging Face cache, named as a folder, links to the blobs beside `snapshots/`."""
    return [folder.resolve().parent.parent / "blobs"] if folder.resolve().parent.name == "snapshots" else []


def _on_disk(folder: Path, name: str, allowed: list[Path]) -> RemoteFile:
    path = folder / name
    target = path.resolve()
    if not any(target.is_relative_to(root) for root in allowed):
        raise UnsafeFormat(
            f"{printable(name)} in {folder} is a link that leads out of the folder.",
            "Copy the file it points to into the folder, or name the folder where the real files are.",
        )
    return RemoteFile(name, target.stat().st_size)


# ---------------------------------------------------------------- both


def _assemble(
    ref: ModelRef,
    commit: str | None,
    config: Mapping[str, Any],
    small: Mapping[str, Mapping[str, Any]],
    choice: selection.Selection,
    files: Mapping[str, RemoteFile],
) -> ModelInfo:
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


def _most(counts: Mapping[str, int]) -> str | None:
    return max(counts, key=lambda name: counts[name]) if counts else None


def _json(path: str, body: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        if looks_like_a_link(body):
            raise link_refused(path) from None
        content = None
    if not isinstance(content, dict):
        raise IncompleteModel(f"{path} is not readable as JSON.", "Use another revision or repository of this model.")
    return content


def looks_like_a_link(body: bytes) -> bool:
    """Whether a file that should hold JSON or a tokenizer holds just a path, as git keeps a symbolic link."""
    return 0 < len(body) < 1024 and b"\n" not in body.strip() and b"{" not in body and b" " not in body


def link_refused(path: str) -> UnsafeFormat:
    """A symbolic link is never followed and never made."""
    return UnsafeFormat(
        f"{printable(path)} in the repository is a symbolic link, not a file.",
        "Use another repository of this model, one that holds the files themselves.",
    )
