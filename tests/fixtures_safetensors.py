"""Quantized safetensors folders of the demo model for tests: made once by the libraries themselves, in a process of
their own, kept for the machine, shared by workers.

Use: `from tests.fixtures_safetensors import demo_folder` and ask `demo_folder("nf4")` for a folder, which nobody may
change. Kinds: nf4, fp4, int8 (bitsandbytes), gptq (4 bits, groups of 128), and auto_gptq, the same weights in the
layout that auto-gptq left: a quantize_config.json, nothing in config.json, and a name of its own for the weights.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from tests.fixtures_gguf import DEMO

CALIBRATION = DEMO.parent / "text" / "calibration.txt"
LIBRARIES = {"gptq": "gptqmodel", "auto_gptq": "gptqmodel"}  # else bitsandbytes
OLD_WEIGHTS = "gptq_model-4bit-128g.safetensors"


@lru_cache
def demo_folder(kind: str) -> Path:
    """The demo model, quantized so."""
    folder = _cache(LIBRARIES.get(kind, "bitsandbytes"))
    target = folder / f"demo-{kind}"
    with FileLock(folder / f"{kind}.lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                made = Path(place) / target.name
                if kind == "auto_gptq":
                    _as_auto_gptq_left_it(demo_folder("gptq"), made)
                else:
                    _run(kind, made)
                made.rename(target)
    return target


def _cache(library: str) -> Path:
    owner = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"lqmf-tests-{owner}" / f"{library}-{version(library)}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(kind: str, out: Path) -> None:
    environment = {**os.environ, "GPTQMODEL_CPU_WORKERS": "2"}
    command = [sys.executable, "-m", "tests.fixtures_safetensors", kind, str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parent.parent, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _as_auto_gptq_left_it(new: Path, out: Path) -> None:
    shutil.copytree(new, out)
    config = json.loads((out / "config.json").read_text())
    told = config.pop("quantization_config")
    (out / "config.json").write_text(json.dumps(config))
    kept = ("bits", "group_size", "desc_act", "sym", "damp_percent", "static_groups", "true_sequential")
    old = {name: told[name] for name in kept if name in told}
    old |= {"model_name_or_path": None, "model_file_base_name": OLD_WEIGHTS.removesuffix(".safetensors")}
    (out / "quantize_config.json").write_text(json.dumps(old))
    (out / "model.safetensors").rename(out / OLD_WEIGHTS)


# ---------------------------------------------------------------- in a process of its own


def _make_bnb(kind: str, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings: dict[str, Any] = {"load_in_8bit": True}
    if kind != "int8":
        settings = {"load_in_4bit": True, "bnb_4bit_quant_type": kind, "bnb_4bit_use_double_quant": True}
        settings["bnb_4bit_compute_dtype"] = torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(
        DEMO, quantization_config=BitsAndBytesConfig(**settings), device_map="cpu", dtype=torch.bfloat16
    )
    model.save_pretrained(out)


def _make_gptq(out: Path) -> None:
    from gptqmodel import GPTQModel, QuantizeConfig
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(DEMO)(CALIBRATION.read_text(encoding="utf-8"))["input_ids"]
    windows = [tokens[start : start + 256] for start in range(0, 32 * 256, 256)]
    model = GPTQModel.load(str(DEMO), QuantizeConfig(bits=4, group_size=128), device="cpu")
    model.quantize([{"input_ids": one, "attention_mask": [1] * len(one)} for one in windows], batch_size=4)
    model.save(str(out))


def _tokenizer(out: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(DEMO / name, out / name)


if __name__ == "__main__":
    wanted, place = sys.argv[1], Path(sys.argv[2])
    _make_gptq(place) if wanted == "gptq" else _make_bnb(wanted, place)
    _tokenizer(place)
