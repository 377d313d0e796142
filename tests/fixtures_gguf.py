"""GGUF files of the demo model for tests: made once by LQMF's own backend, kept for the machine, shared by workers.

Use: `from tests.fixtures_gguf import demo_gguf` and ask `demo_gguf("Q4_K_M")` for a path, which nobody may change.
`small_folder()` is the demo model's first layer alone, a model that takes a quarter of the time: for what is not about
how well the demo model speaks.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

import lqmf
from lqmf.events import Event

# Tests run side by side: threads that spin on the same cores would make each other ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

DEMO = Path(lqmf.__file__).parent / "assets" / "demo"
SMALL = "small-model"  # the name of its folder
EVALUATION = Path(lqmf.__file__).parent / "assets" / "text" / "evaluation.txt"


@lru_cache
def demo_gguf(type_name: str = "F16") -> Path:
    """The demo model as a GGUF file of this type."""
    return _kept("demo", type_name, DEMO, demo_gguf)


@lru_cache
def small_gguf(type_name: str = "F16") -> Path:
    """The small model as a GGUF file of this type."""
    return _kept("small", type_name, small_folder(), small_gguf)


@lru_cache
def small_folder() -> Path:
    """A folder with the demo model's first layer, its embedding and its tokenizer: 1.8 million parameters."""
    folder = _cache()
    target = folder / SMALL
    with FileLock(folder / "small.lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                made = Path(shutil.copytree(DEMO, Path(place) / SMALL))
                _keep_first_layer(made / "model.safetensors")
                config = json.loads((made / "config.json").read_text())
                (made / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
                made.rename(target)
    return target


def _kept(name: str, type_name: str, source: Path, other: Callable[[str], Path]) -> Path:
    """The model of `source` as a GGUF file of this type; `other` gives one of another type."""
    folder = _cache()
    target = folder / f"{name}-{type_name}.gguf"
    with FileLock(folder / f"{name}-{type_name}.lock"):
        if not target.exists():
            _make(type_name, folder, target, source, other)
    return target


def _keep_first_layer(file: Path) -> None:
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header, kept = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in json.loads(data[8:start]).items():
        if name != "__metadata__" and ("layers." not in name or "layers.0." in name):
            begin, end = tensor["data_offsets"]
            header[name] = {**tensor, "data_offsets": [len(kept), len(kept) + end - begin]}
            kept += data[start + begin : start + end]
    told = json.dumps(header).encode()
    file.write_bytes(len(told).to_bytes(8, "little") + told + kept)


@lru_cache
def _cache() -> Path:
    """One folder for this model and this llama.cpp: another version makes its own files."""
    weights = hashlib.sha256((DEMO / "model.safetensors").read_bytes()).hexdigest()[:12]
    owner = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"lqmf-tests-{owner}" / f"{weights}-{version('llama-cpp-python')}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _make(type_name: str, folder: Path, target: Path, source: Path, of_type: Callable[[str], Path]) -> None:
    from lqmf.model_files.gguf_types import LAYOUTS
    from tests.quantization import official
    from tests.quantization.bases import make_base

    with tempfile.TemporaryDirectory(dir=folder) as place:
        scratch = Path(place)
        if type_name == "F16":
            made = make_base(source, scratch, _ignore, name="demo").path
        else:
            made = official.quantized(of_type("F16"), scratch / target.name, LAYOUTS[type_name].ftype)
        made.rename(target)


def _ignore(_event: Event) -> None:
    """Progress is of no interest here."""
