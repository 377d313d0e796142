"""The converter's side of a stream: the converter works as usual until it would write the weights; these are quantized
to their final types directly.

Takes the place of `ModelBase.write` in the converter's process, for one or several outputs. The order: prepare, choose
types, lay the files out, look for tensors that an interrupted run finished, make the rest. Knows the converter's
objects; `pipeline.py` describes the job.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from lqmf.child_process import Send
from lqmf.ggml import chunks
from lqmf.model_files import imatrix_file, safetensors_header
from lqmf.quantization.gguf.converter import adapter
from lqmf.quantization.gguf.stream import blocks
from lqmf.quantization.gguf.stream import job as stream_job
from lqmf.quantization.gguf.stream.blocks import Engine
from lqmf.quantization.gguf.stream.job import Job, Prepared
from lqmf.quantization.gguf.stream.journal import Journal
from lqmf.quantization.gguf.stream.layout import Layout, Raw
from lqmf.quantization.gguf.stream.lazy_rows import Leaf, Rows, leaves, understand
from lqmf.quantization.gguf.stream.shards import Shards
from lqmf.quantization.gguf.stream.units import BLOCK, Unit
from lqmf.quantization.gguf.stream.writer import OutputFile, Syncer, reopen

_TELL_SECONDS = 0.2


def take_over(base: Any, job: Job, send: Send) -> None:
    """Make the converter, whose module `conversion.base` is `base`, hand its tensors to `job` where it would write
    them; progress goes to `send`."""
    lock = threading.Lock()

    def tell(message: dict[str, Any]) -> None:
        with lock:
            send(message)

    used = Path(job.used) if job.used else None
    shards = Shards([Path(folder) for folder in job.weights], lambda name: tell({"waiting": name}), used)
    gguf = base.gguf
    gguf.utility.LocalTensor.mmap_bytes = lambda local: _read_whole(shards, local)
    _remember_sources(gguf)
    if job.adapter:
        adapter.take_in(base, adapter.pairs(Path(job.adapter)))
    base.ModelBase.write = lambda model: _Stream(base, job, shards, tell).write(model)


def _read_whole(shards: Shards, local: Any) -> Any:
    """A tensor's bytes, read instead of mapped, from where the weights really are."""
    import numpy as np

    data = np.empty(local.data_range.size, dtype=np.uint8)
    shards.read_into(Path(local.data_range.filename).name, local.data_range.offset, data.data)
    return data


def _remember_sources(gguf: Any) -> None:
    """Keep with each lazy tensor that the converter narrows the tensor before that, and with each weight its name."""
    official, init = gguf.quants.quantize, gguf.utility.SafetensorsLocal.__init__

    def quantize(data: Any, kind: Any) -> Any:
        made = official(data, kind)
        if isinstance(made, gguf.LazyNumpyTensor):
            made.unquantized = data
        return made

    def named(local: Any, filename: Path) -> None:
        init(local, filename)
        for name, tensor in local.tensors.items():
            tensor.name = name

    gguf.quants.quantize = quantize
    gguf.utility.SafetensorsLocal.__init__ = named


class _Stream:
    """One job, in the converter's process."""

    def __init__(self, base: Any, job: Job, shards: Shards, send: Send) -> None:
        self._base, self._job, self._shards, self._send = base, job, shards, send
        self._threads = job.threads or blocks.workers()
        self._imatrix = imatrix_file.read(Path(job.imatrix)) if job.imatrix else None
        self._told, self._lock = 0.0, threading.Lock()
        self._done = self._total = 0

    def write(self, model: Any) -> None:
        """Write all outputs. `model` is the converter's, made for the first output's own type."""
        import torch

        torch.set_num_threads(1)  # the blocks run side by side instead
        prepared = self._prepare(model)
        layouts = stream_job.lay_out(self._job, prepared, self._imatrix, self._send)
        units = self._units(prepared, layouts)
        fingerprint = self._fingerprint(layouts)
        journal_path, paths = Path(self._job.journal), [Path(output.path) for output in self._job.outputs]
        reopen(paths, journal_path, fingerprint)
        journal = Journal(journal_path, fingerprint)
        files = [
            OutputFile(path, layout.header, layout.size, layout.gaps)
            for path, layout in zip(paths, layouts, strict=True)
        ]
        self._make(self._unfinished(units, files, journal), files, journal)
        for file in files:
            file.finish()
            file.close()
        journal.close()
        journal.remove()

    # ------------------------------------------------------------ what the converter makes ready

    def _prepare(self, model: Any) -> dict[str, Prepared]:
        """The converter's tensors for each of its own types that an output needs."""
        found: dict[str, Prepared] = {}
        for outtype in dict.fromkeys(output.outtype for output in self._job.outputs):
            made = model if not found else self._again(model, outtype)
            made.prepare_tensors()
            made.prepare_metadata(vocab_only=False)
            infos = made.gguf_writer.tensors[0]
            raws = {name: Raw(name, int(info.dtype), tuple(info.shape)) for name, info in infos.items()}
            found[outtype] = Prepared(made.gguf_writer, raws)
        return found

    def _again(self, model: Any, outtype: str) -> Any:
        names = {"f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "f32": "ALL_F32"}
        file_type = getattr(self._base.gguf.LlamaFileType, names[outtype])
        return type(model)(model.dir_model, file_type, model.fname_out, model_name=model.model_name)

    # ------------------------------------------------------------ what is to be done

    def _units(self, prepared: Mapping[str, Prepared], layouts: Sequence[Layout]) -> list[Unit]:
        """Every tensor with its targets, in the order of the weight files."""
        units = []
        for outtype, ready in prepared.items():
            places = [place for place, output in enumerate(self._job.outputs) if output.outtype == outtype]
            for name, raw in ready.raws.items():
                targets = [(place, layouts[place].tensors[name]) for place in places]
                units.append(self._unit(ready.writer.tensors[0][name].tensor, raw, targets))
                ready.writer.tensors[0][name].tensor = None  # held by the unit alone
        return sorted(units, key=lambda unit: (unit.files[-1:], unit.files))

    def _unit(self, tensor: Any, raw: Raw, targets: list[Any]) -> Unit:
        node = self._source_node(tensor)
        found = list({(leaf.file, leaf.offset): leaf for leaf in leaves(tensor, self._leaf)}.values())
        rows = understand(node, self._leaf) if node is not None and _is_plain(raw) else None
        files = tuple(sorted({leaf.file for leaf in found}))
        if isinstance(tensor, self._base.gguf.LazyChunkedTensor):  # which files it needs cannot be told
            files = tuple(file.name for file in safetensors_header.weights(Path(self._job.source)))
        size = sum(leaf.size for leaf in found)
        unit = Unit(raw, _fitting(rows, raw), partial(self._evaluated, tensor), files, size, targets)
        unit.weighted = frozenset(place for place, output in enumerate(self._job.outputs) if output.weighted)
        if any(place in unit.weighted and placed.kind != raw.kind for place, placed in targets):
            unit.importance = stream_job.importance_of(self._imatrix, raw)
        return unit

    def _source_node(self, tensor: Any) -> Any | None:
        """The lazy torch tensor that a tensor was before it became numpy's and narrow; None where there is none."""
        before = getattr(tensor, "unquantized", None)
        if before is None or getattr(before, "_data", None) is not None:
            return None
        args: Sequence[Any] = getattr(before, "_args", ())
        return args[0] if len(args) == 1 and isinstance(args[0], self._base.LazyTorchTensor) else None

    def _leaf(self, node: Any) -> Leaf | None:
        local = node._args[0] if len(node._args) == 1 else None
        if not isinstance(local, self._base.gguf.utility.LocalTensor):
            return None
        place = local.data_range
        dtype = self._base.LazyTorchTensor._dtype_str_map[local.dtype]
        name = str(getattr(local, "name", ""))
        return Leaf(Path(place.filename).name, place.offset, place.size, dtype, tuple(local.shape), name)

    def _evaluated(self, tensor: Any) -> Any:
        """The converter's own bytes of a tensor, by its own evaluation."""
        import numpy as np

        gguf = self._base.gguf
        if not isinstance(tensor, gguf.LazyChunkedTensor):
            return gguf.LazyNumpyTensor.to_eager(tensor)
        loaded = (load() for load in tensor._chunks)
        plain = tensor._qtype is None
        return np.concatenate([chunk if plain else gguf.quants.quantize(chunk, tensor._qtype) for chunk in loaded])

    # ------------------------------------------------------------ doing it

    def _unfinished(self, units: Sequence[Unit], files: Sequence[OutputFile], journal: Journal) -> list[Unit]:
        """The units that an interrupted run did not finish, each with the targets that it lacks."""
        self._total = sum(unit.source_bytes for unit in units)
        if journal.lines:
            with ThreadPoolExecutor(self._threads) as pool:
                lacking = pool.map(lambda unit: blocks.unproven(unit, files, journal.lines), units)
            for unit, targets in zip(units, list(lacking), strict=True):
                unit.targets = targets
        left = [unit for unit in units if unit.targets]
        self._done = self._total - sum(unit.source_bytes for unit in left)
        self._send({"kept": len(units) - len(left), "of": len(units)})
        return left

    def _make(self, units: Sequence[Unit], files: Sequence[OutputFile], journal: Journal) -> None:
        engine = Engine(self._shards, files, self._job.budget_bytes, self._threads, self._tell)
        discard = self._shards.discard if self._job.discard else None
        users = Counter(name for unit in units for name in unit.files)
        engine.run(units, Syncer(files, journal, users, discard, engine.fail))
        self._shards.close()
        self._send({"done_bytes": self._total, "total_bytes": self._total, "tensor": ""})

    def _tell(self, source_bytes: int, tensor: str) -> None:
        with self._lock:
            self._done += source_bytes
            if time.monotonic() - self._told > _TELL_SECONDS:
                self._told = time.monotonic()
                self._send({"done_bytes": self._done, "total_bytes": self._total, "tensor": tensor})

    def _fingerprint(self, layouts: Iterable[Layout]) -> str:
        """Return a hash of everything that must be the same to go on with an interrupted run's files."""
        seen = hashlib.sha256()
        for layout in layouts:
            seen.update(layout.header)
        imatrix = Path(self._job.imatrix).read_bytes() if self._job.imatrix else b""
        seen.update(hashlib.sha256(imatrix).digest())
        seen.update(adapter.fingerprint(Path(self._job.adapter)).encode() if self._job.adapter else b"")
        seen.update(f"{self._job.identity}\0{BLOCK}\0{len(self._job.outputs)}".encode())
        return seen.hexdigest()


def _is_plain(raw: Raw) -> bool:
    return raw.kind in (chunks.F16, chunks.BF16, chunks.F32)


def _fitting(rows: Rows | None, raw: Raw) -> Rows | None:
    """`rows`, if they are the tensor's own."""
    return rows if rows and sum(part.rows for part in rows.parts) == raw.rows else None
