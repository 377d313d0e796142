"""What the gate's bounds rest on: KL divergence and the share of tokens with the same top choice, by type and text.

    python bench/gate.py [--types Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q3_K_M,Q2_K] [--windows 60]

Two distributions that differ by KL nats choose different tokens at a share of about c sqrt(KL) of all: the greatest c
of any text here turns a bound on the one into a bound on the other. Of the bundled model, against its own F16 file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from lqmf.hardware import cpu_name
from lqmf.jobs.tasks import divergence
from lqmf.records import Task
from lqmf.texts.evaluation import EVALUATION, MAIN
from tests.fixtures_gguf import demo_gguf


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--types", default="Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q3_K_M,Q2_K")
    parser.add_argument("--windows", type=int, default=60)
    options = parser.parse_args()
    llama = importlib.metadata.version("llama-cpp-python")
    print(f"{cpu_name()}, Python {platform.python_version()}, llama-cpp-python {llama}\n")
    print("| type | text | KL, nats a token | same top choice | c |\n|---|---|---|---|---|")
    found = [row for name in options.types.split(",") for row in rows(name, options.windows)]
    print(f"\nThe greatest c: {max(found):.2f}")
    return 0


def rows(type: str, windows: int) -> list[float]:
    """Print a line for each text; each one's c."""
    constants = []
    for name, figures in measured(type, windows)["domains"].items():
        kl, top1 = figures["kl_divergence"]["mean"], figures["top1_agreement"]
        constants.append((1 - top1) / math.sqrt(kl))
        print(f"| {type} | {name} | {kl:.5f} | {top1:.1%} | {constants[-1]:.2f} |", flush=True)
    return constants


def measured(type: str, windows: int) -> dict[str, Any]:
    """The receipt's figures of one type."""
    with tempfile.TemporaryDirectory() as place:
        params = {
            "artifact": str(demo_gguf(type)),
            "base": str(demo_gguf("F16")),
            "text": str(EVALUATION[MAIN]),
            "domains": {name: str(path) for name, path in EVALUATION.items() if name != MAIN},
            "max_windows": windows,
        }
        return divergence.run(Task("bench", "divergence", params, str(Path(place) / "log")), lambda event: None)


if __name__ == "__main__":
    sys.exit(main())
