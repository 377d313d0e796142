"""Describes a model before its weights are fetched. Knows configs and file lists; downloads no weights.

A Hub model is asked about through the real client; a folder (and the demo) is read from its files.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from lqmf.errors import GatedModel, IntegrityError
from lqmf.hub.answers import Described
from lqmf.hub.client import HubClient
from lqmf.model_files import describe, selection
from lqmf.model_files.refs import is_commit, is_repo_id, printable
from lqmf.records import ModelInfo, ModelRef, RemoteFile

Access = Literal["open", "granted", "gated", "private"]
_SMALLEST_WEIGHTS_BYTES = 4096  # below it, a weights file outside LFS may be a symbolic link's text


async def inspect(ref: ModelRef, *, hub: HubClient) -> ModelInfo:
    """Return the description of the model `ref`, without fetching its weights.

    Raises ModelNotFound, Unauthorized, RateLimited, HubUnavailable, ConnectionBroken, Offline; UnsafeFormat for a
    hostile repository, IncompleteModel for a missing shard, UnsupportedModel for an adapter or a GGUF alone. A gated
    model is described with `access="gated"`.
    """
    if ref.kind != "hub":
        return await asyncio.to_thread(describe.describe_folder, ref, describe.local_folder(ref))
    return await _Inspection(ref, hub).run()


# ---------------------------------------------------------------- on the Hub


@dataclass(frozen=True)
class _Inspection:
    ref: ModelRef
    hub: HubClient

    async def run(self) -> ModelInfo:
        told = await self.hub.model_info(self.ref.id, self.ref.revision)
        commit = _commit(told)
        selection.refuse_unsafe_paths(sibling.rfilename for sibling in told.siblings or ())
        files = {file.path: file for file in _listed(told) or await self._tree(commit)}
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
        if readable and not choice.weights:
            adapter = small.get(describe.ADAPTER_CONFIG)
            describe.refuse_what_is_no_model(self.ref.id, files, adapter, _base(told), None)
        elif readable and selection.CONFIG not in small:
            raise describe.no_config(self.ref.id)
        info = describe.assemble(self.ref, commit, _or_hub_config(small, told), small, choice, files)
        info = replace(info, access=access, license=_license(told), languages=_languages(told))
        return _with_parameters(info, told)

    async def _tree(self, commit: str) -> list[RemoteFile]:
        """The file list of a mirror whose model information has no sizes."""
        files = await self.hub.files(self.ref.id, commit)
        return [RemoteFile(f.path, f.size, f.lfs.oid or None if f.lfs else None, f.oid) for f in files]

    async def _small_files(self, files: Mapping[str, RemoteFile], commit: str) -> dict[str, Mapping[str, Any]]:
        wanted = [selection.CONFIG, selection.TOKENIZER_CONFIG, describe.ADAPTER_CONFIG, selection.index_of(files)]
        paths = [path for path in wanted if path and path in files]
        bodies = await asyncio.gather(*(self.hub.read_small(self.ref.id, p, commit) for p in paths))
        small = {p: describe.parse_json(p, verified(files[p], body)) for p, body in zip(paths, bodies, strict=True)}
        return small

    async def _refuse_links(self, weights: list[RemoteFile], commit: str) -> None:
        """Git keeps a symbolic link as a small file that holds its target; LFS never does."""
        for file in weights:
            if file.sha256 is None and file.size_bytes < _SMALLEST_WEIGHTS_BYTES:
                body = await self.hub.read_small(self.ref.id, file.path, commit)
                if body[8:9] != b"{":
                    raise describe.link_refused(file.path)


def _with_parameters(info: ModelInfo, told: Described) -> ModelInfo:
    """Return `info` with the parameters that the Hub counted; where it has not, the headers give them later
    (`describe.counted`)."""
    counts: Mapping[str, int] = told.safetensors.parameters if told.safetensors else {}
    return replace(info, parameters=sum(counts.values()), dtype=describe.most_common(counts)) if counts else info


def _commit(told: Described) -> str:
    commit = told.sha or ""
    if not is_commit(commit):
        raise IntegrityError(
            f"The Hub gave no commit for {told.id}.", "Check HF_ENDPOINT: the address may not be a Hub."
        )
    return commit


def _listed(told: Described) -> list[RemoteFile]:
    """Return the files with their sizes and hashes; no files where any of them has no size or no hash."""
    files = [
        RemoteFile(s.rfilename, s.lfs.size if s.lfs else s.size or 0, s.lfs.sha256 or None if s.lfs else None, s.blobId)
        for s in told.siblings or ()
    ]
    sized = all(sibling.size is not None or sibling.lfs for sibling in told.siblings or ())
    return files if sized and all(file.sha256 or file.git_oid for file in files) else []


def verified(file: RemoteFile, body: bytes) -> bytes:
    """Return `body` if its hash is that of `file`. Raises IntegrityError otherwise."""
    oid = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
    right = hashlib.sha256(body).hexdigest() == file.sha256 if file.sha256 else file.git_oid in (None, oid)
    if not right:
        raise IntegrityError(
            f"{file.path} has not the content that the Hub lists (its hash differs).",
            "Run the same command again; if it stays so, a proxy or mirror changes the files.",
        )
    return body


def _or_hub_config(small: Mapping[str, Mapping[str, Any]], told: Described) -> Mapping[str, Any]:
    return small.get(selection.CONFIG) or {k: v for k, v in (told.config or {}).items() if k != "tokenizer_config"}


def _choose(
    files: Mapping[str, RemoteFile], small: Mapping[str, Mapping[str, Any]], *, readable: bool
) -> selection.Selection:
    index = selection.index_of(files)
    if index and not readable:  # a gated model: its index cannot be read yet, so all of its shards count
        shards = {path for path in files if path.endswith(".safetensors") and "/" not in path}
        return selection.choose(files, {"weight_map": {p: p for p in shards if not selection.is_duplicate(p)}})
    return selection.choose(files, small.get(index) if index else None)


def _base(told: Described) -> str | None:
    """Return the id of the model that the card says this one was made from."""
    said = told.cardData.get("base_model") if told.cardData else None
    named = said[0] if isinstance(said, list) and said else said
    return named if isinstance(named, str) and is_repo_id(named) else None


def _languages(told: Described) -> tuple[str, ...]:
    said = told.cardData.get("language") if told.cardData else None
    named = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    return tuple(str(code) for code in named)


def _license(told: Described) -> str | None:
    card = told.cardData
    named = (card.get("license_name") if card.get("license") == "other" else card.get("license")) if card else None
    tagged = next((tag.removeprefix("license:") for tag in told.tags or () if tag.startswith("license:")), None)
    named = named[0] if isinstance(named, list) and named else named
    return printable(str(named or tagged), 80) if named or tagged else None
