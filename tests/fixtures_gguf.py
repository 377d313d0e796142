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
    folder = _cache()
    target = folder / f"demo-{type_name}.gguf"
    with FileLock(folder / f"{type_name}.lock"):
        if not target.exists():
            _make(type_name, folder, target)
    return target


@lru_cache
def small_folder() -> Path:
    """A folder with the demo model's first layer, its embedding and its tokenizer: 1.8 million parameters."""
    from safetensors.torch import load_file, save_file

    folder = _cache()
    target = folder / SMALL
    with FileLock(folder / "small.lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                made = Path(shutil.copytree(DEMO, Path(place) / SMALL))
                weights = load_file(made / "model.safetensors")
                kept = {name: data for name, data in weights.items() if "layers." not in name or "layers.0." in name}
                save_file(kept, made / "model.safetensors", metadata={"format": "pt"})
                config = json.loads((made / "config.json").read_text())
                (made / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
                made.rename(target)
    return target


@lru_cache
def _cache() -> Path:
    """One folder for this model and this llama.cpp: another version makes its own files."""
    weights = hashlib.sha256((DEMO / "model.safetensors").read_bytes()).hexdigest()[:12]
    owner = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"lqmf-tests-{owner}" / f"{weights}-{version('llama-cpp-python')}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _make(type_name: str, folder: Path, target: Path) -> None:
    from lqmf.model_files.gguf_types import LAYOUTS
    from tests.quantization import official
    from tests.quantization.bases import make_base

    with tempfile.TemporaryDirectory(dir=folder) as place:
        scratch = Path(place)
        if type_name == "F16":
            made = make_base(DEMO, scratch, _ignore, name="demo").path
        else:
            made = official.quantized(demo_gguf("F16"), scratch / target.name, LAYOUTS[type_name].ftype)
        made.rename(target)


def _ignore(_event: Event) -> None:
    """Progress is of no interest here."""
