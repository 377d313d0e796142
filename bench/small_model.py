"""Train a second small model, of another architecture than the demo's, to measure on: a folder of Hugging Face files.

    nice python bench/small_model.py FOLDER [--architecture gpt_neox] [--steps 900] [--seed 1]

It takes the demo's tokenizer, the built-in calibration text and the documentation inside Python's own standard library;
half a CPU second a step on one AVX-512 core (set OMP_NUM_THREADS=1 on a machine that others use). The rows of all
matrices are multiples of 256, so that every GGUF type fits them. It never reads the texts that choose or judge.
"""

from __future__ import annotations

import argparse
import ast
import math
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

ASSETS = Path(__file__).resolve().parents[1] / "lqmf" / "assets"
WIDTH, LAYERS, HEADS = 256, 6, 4
WINDOW, BATCH = 256, 8
PEAK_RATE, WARM_STEPS = 2e-3, 60

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "gpt_neox": {"intermediate_size": 1024, "rotary_pct": 0.25, "tie_word_embeddings": False},
    "qwen2": {"intermediate_size": 1024, "num_key_value_heads": 2, "tie_word_embeddings": True},
}


def main() -> int:
    options = parse()
    torch.manual_seed(options.seed)
    tokens = torch.tensor(Tokenizer.from_file(str(ASSETS / "demo" / "tokenizer.json")).encode(text()).ids)
    model = untrained(options.architecture)
    print(f"{options.architecture}: {sum(p.numel() for p in model.parameters()):,} weights, {len(tokens):,} tokens")
    train(model, tokens, options.steps)
    model.to(torch.bfloat16).save_pretrained(options.folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(ASSETS / "demo" / name, options.folder / name)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="gpt_neox")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def text() -> str:
    calibration = (ASSETS / "text" / "calibration.txt").read_text(encoding="utf-8")
    return calibration + "\n\n".join(docstrings(Path(sysconfig.get_path("stdlib"))))


def docstrings(root: Path) -> Iterator[str]:
    for path in sorted(root.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (said := ast.get_docstring(node)):
                yield said


def untrained(architecture: str) -> Any:
    config = AutoConfig.for_model(
        architecture,
        vocab_size=4096,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=1024,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
        **ARCHITECTURES[architecture],
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def train(model: Any, tokens: torch.Tensor, steps: int) -> None:
    """AdamW with a warm start; the rate falls as a cosine."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95))
    for step in range(steps):
        rate = (
            PEAK_RATE * min(1.0, (step + 1) / WARM_STEPS) * (0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2)
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(0, len(tokens) - WINDOW, (BATCH,)).tolist()
        batch = torch.stack([tokens[start : start + WINDOW] for start in starts])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
