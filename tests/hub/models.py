"""Models for the local hub: the demo as it is, the demo in shards, and a small one that is quick to fetch."""

from __future__ import annotations

import json
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import safetensors

from lqmf.hub.refs import DEMO_FOLDER


def weights(count: int, seed: int = 0) -> bytes:
    """A safetensors file with one BF16 tensor of `count` elements."""
    return written({"w": {"dtype": "BF16", "shape": [count], "data": random.Random(seed).randbytes(2 * count)}})


def written(tensors: dict[str, dict[str, Any]]) -> bytes:
    """A safetensors file of `{"dtype", "shape", "data"}` by name."""
    header, body = {}, b""
    for name, tensor in tensors.items():
        end = len(body) + len(tensor["data"])
        header[name] = {"dtype": tensor["dtype"], "shape": tensor["shape"], "data_offsets": [len(body), end]}
        body += tensor["data"]
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def small_model(elements: int = 200_000, **config: object) -> dict[str, bytes]:
    """Paths and bytes of a whole model: two elements are four bytes of weights."""
    described = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 7, "n_positions": 64}
    return {
        "config.json": json.dumps({**described, **config}).encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b'{"chat_template": "x"}',
        "model.safetensors": weights(elements),
        "README.md": b"# not needed",
    }


def sharded_demo(folder: Path, shards: int = 3) -> Path:
    """The demo model with its tensors dealt out over several files, and their index."""
    shutil.copytree(DEMO_FOLDER, folder, dirs_exist_ok=True)
    tensors = safetensors.deserialize((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").unlink()
    names = [f"model-{n + 1:05d}-of-{shards:05d}.safetensors" for n in range(shards)]
    weight_map = {}
    for at, name in enumerate(names):
        mine = tensors[at::shards]
        weight_map.update({tensor: name for tensor, _ in mine})
        (folder / name).write_bytes(written(dict(mine)))
    index = {"metadata": {"total_size": sum(len(view["data"]) for _, view in tensors)}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
