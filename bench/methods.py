"""What each quantization method loses: KL from the source on the evaluation text, in one table, same windows for all.

    python bench/methods.py [--model FOLDER] [--windows 16] [--types nf4,fp4,int8,gptq4,Q4_K_M,Q8_0] [--gate]

Artifacts are made by LQMF's own backends, on the CPU, as `lqmf quantize` makes them; round-to-nearest has GPTQ's grid
and matrices and no calibration. Must, with `--gate`: GPTQ 4-bit in groups of 128 below round-to-nearest, and int8 below
nf4 below fp4 (Dettmers et al., 2022 and 2023: arXiv:2208.07339, arXiv:2305.14314).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import platform
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parent.parent))

from lqmf.agents.feedback_agent import EVALUATION_TEXT
from lqmf.hardware import cpu_name
from lqmf.jobs.runner import LocalRunner
from lqmf.model_files.refs import DEMO_FOLDER
from lqmf.quality.receipt.weights import weights
from lqmf.quantization.registry import backend
from lqmf.records import ModelRef, QuantizationPlan, Task, to_json
from tests.quantization.round_to_nearest import round_to_nearest

NEAREST = "nearest 4-bit g128"
METHODS = {"nf4": ("bnb", 4), "fp4": ("bnb", 4), "int8": ("bnb", 8)}
VERSIONS = ("gptqmodel", "bitsandbytes", "transformers", "torch", "llama-cpp-python")


@dataclass(frozen=True)
class Row:
    """One artifact: what it is, its bits a weight (None: rounded in place, not packed), and what was measured."""

    name: str
    bits_per_weight: float | None
    measured: dict[str, Any]

    @property
    def kl(self) -> float:
        return float(self.measured["kl_divergence"]["mean"])


def main() -> int:
    options = parse()
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    print(f"{cpu_name()}, Python {platform.python_version()}, {found}\n")
    with tempfile.TemporaryDirectory() as place:
        rows = [row(name, options, Path(place)) for name in (NEAREST, *options.types.split(","))]
    show(rows)
    return 0 if in_order({each.name: each.kl for each in rows}) or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEMO_FOLDER)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--types", default="gptq4,nf4,fp4,int8,Q4_K_M,Q8_0")
    parser.add_argument("--gate", action="store_true")
    return parser.parse_args()


def row(name: str, options: argparse.Namespace, place: Path) -> Row:
    """Make it, measure it."""
    out, work = place / name / "out", place / name / "work"
    for folder in (out, work):
        folder.mkdir(parents=True)
    if name == NEAREST:
        base, artifact, bits = options.model, round_to_nearest(options.model, out), None
    else:
        told = {"plan": to_json(plan_of(name, options.model)), "source": str(options.model), "work": str(work)}
        done("quantize", {**told, "out": str(out)}, place)
        base = done("convert", told, place)["base"]
        artifact, bits = out, weights(out).bits_per_weight
    params = {"artifact": str(artifact), "base": str(base), "text": str(EVALUATION_TEXT), "device": "cpu"}
    return Row(name, bits, done("divergence", {**params, "max_windows": options.windows}, place))


def done(kind: str, params: dict[str, Any], place: Path) -> dict[str, Any]:
    """What a worker process makes of this task; the libraries' chatter goes to its log."""
    task = Task("bench", kind, params, str(place / f"{kind}.log"))
    return asyncio.run(LocalRunner().run(task, lambda _event: None))


def plan_of(name: str, model: Path) -> QuantizationPlan:
    """The plan for this type, on the CPU, with the method's usual settings."""
    method, bits = ("gptq", int(name[4:])) if name.startswith("gptq") else METHODS.get(name, ("gguf", 0))
    kind: Literal["demo", "local"] = "demo" if model == DEMO_FOLDER else "local"
    ref = ModelRef(kind, model.name, path=str(model))
    bits = bits or backend("gguf").types[name].bits
    plan = QuantizationPlan("bench", ref, None, method, bits, "" if method == "gptq" else name, "safetensors", "cpu")
    return replace(plan, format="gguf", base="F16", imatrix=bits <= 4) if method == "gguf" else plan


def show(rows: list[Row]) -> None:
    """The table, and each as a ratio of round-to-nearest."""
    nearest = rows[0].kl
    print("| method | bits a weight | KL (nats a token) | of nearest's | same top choice | perplexity |")
    print("|---|---|---|---|---|---|")
    for each in sorted(rows, key=lambda one: one.kl):
        found, error = each.measured, each.measured["kl_divergence"]["standard_error"]
        share = f"{each.kl / nearest:.2f}"
        bits = f"{each.bits_per_weight:.2f}" if each.bits_per_weight else "-"
        print(
            f"| {each.name} | {bits} | {each.kl:.5f} ± {error:.5f} | {share} "
            f"| {found['top1_agreement']:.1%} | {found['perplexity']:.3f} |"
        )
    first = rows[0].measured
    print(f"\nThe source: perplexity {first['base']['perplexity']:.3f}, {first['windows']} windows.")


def in_order(kl: dict[str, float]) -> bool:
    """Whether those of the asked types stand as they must; each that does not is said."""
    must = [("gptq4", NEAREST), ("int8", "nf4"), ("nf4", "fp4")]
    wrong = [pair for pair in must if pair[0] in kl and pair[1] in kl and not kl[pair[0]] < kl[pair[1]]]
    for less, more in wrong:
        print(f"MUST: {less} ({kl[less]:.5f}) below {more} ({kl[more]:.5f})")
    return not wrong


if __name__ == "__main__":
    raise SystemExit(main())
