"""Models for the local hub: the demo as it is, the demo in shards, and a small one that is quick to fetch."""

from __future__ import annotations

import json
import math
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import safetensors

from lqmf.model_files.refs import DEMO_FOLDER
from tests.hub.server import Hollow


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


def header(shapes: dict[str, list[int]], dtype: str = "BF16") -> tuple[bytes, int]:
    """The beginning of a safetensors file of these tensors, two bytes a number, and the length of the whole file."""
    entries, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * math.prod(shape)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw, 8 + len(raw) + at


def hollow(shapes: dict[str, list[int]]) -> Hollow:
    """A file of these tensors whose weights nobody may ask for."""
    return Hollow(*header(shapes))


def seven_b(tokenizer_bytes: int = 9_000_000) -> dict[str, bytes | Hollow]:
    """A repository of the shape of Mistral 7B v0.1 (its config.json): 32 layers, 4096 wide, 14.5 GB in three shards."""
    layer = {
        "input_layernorm": [4096], "post_attention_layernorm": [4096],
        "self_attn.q_proj": [4096, 4096], "self_attn.k_proj": [1024, 4096], "self_attn.v_proj": [1024, 4096],
        "self_attn.o_proj": [4096, 4096], "mlp.gate_proj": [14336, 4096], "mlp.up_proj": [14336, 4096],
        "mlp.down_proj": [4096, 14336],
    }  # fmt: skip
    tensors = {"model.embed_tokens.weight": [32000, 4096], "model.norm.weight": [4096], "lm_head.weight": [32000, 4096]}
    tensors |= {f"model.layers.{n}.{part}.weight": shape for n in range(32) for part, shape in layer.items()}
    names = [f"model-{n}-of-00003.safetensors" for n in ("00001", "00002", "00003")]
    where = {tensor: names[at * 3 // len(tensors)] for at, tensor in enumerate(tensors)}
    config = {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 4096, "vocab_size": 32000,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "torch_dtype": "bfloat16",
    }  # fmt: skip
    pad = random.Random(7).randbytes(tokenizer_bytes // 2).hex()
    return {
        "config.json": json.dumps(config).encode(),
        "generation_config.json": b"{}",
        "tokenizer.json": json.dumps({"version": "1.0", "pad": pad}).encode(),
        "tokenizer.model": b"\n\x0e made up",
        "tokenizer_config.json": b'{"chat_template": "x"}',
        "special_tokens_map.json": b"{}",
        "model.safetensors.index.json": json.dumps({"metadata": {}, "weight_map": where}).encode(),
        "README.md": b"# not needed",
    } | {name: hollow({t: tensors[t] for t in tensors if where[t] == name}) for name in names}


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
