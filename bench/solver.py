"""What solving costs: milliseconds from a model's needs to a plan, with every type that llama.cpp can write.

    python bench/solver.py [rounds]

Models are shaped as in the tests; "ways" are the candidates that fit, of all that an exhaustive search would weigh.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from lqmf.fit.candidates import candidates, shapes
from lqmf.fit.needs import Needs, Weights
from lqmf.fit.solver import Machine, Wish, solve
from lqmf.model_files.gguf_types import TYPES
from lqmf.records import Run, Speed
from tests.fit import oracle
from tests.fit.shapes import GIB, MODELS, needs

BUDGET_MS = 1000.0
MACHINES = {
    "16 GiB of RAM": Machine(16 * GIB, 0, 150 << 20),
    "and 7.5 GiB on a GPU": Machine(16 * GIB, 15 * GIB // 2, 150 << 20, 512 << 20),
}
WISHES = {"no wish": Wish(), "32k": Wish(context=32768), "32k on the GPU": Wish(context=32768, device="gpu")}
PACES: dict[str, Callable[[Needs, Weights, Run], Speed | None]] = {
    "speed unknown": oracle.unknown,
    "known": oracle.bandwidth,
}


def exhaustive(one: Needs, machine: Machine, wish: Wish) -> int:
    """How many ways there are to weigh without cleverness."""
    placements = one.layers + 2 if machine.gpu_bytes else 1
    return len(one.weights) * len(list(shapes(one, wish))) * placements


def measure(one: Needs, machine: Machine, wish: Wish, pace: Callable[..., Speed | None], rounds: int) -> float:
    """The median of milliseconds to solve."""
    took = []
    for _ in range(rounds):
        begun = time.perf_counter()
        solve({one.method: one}, machine, wish, oracle.loss, pace)
        took.append((time.perf_counter() - begun) * 1000)
    return median(took)


def main() -> None:
    rounds, worst = int(sys.argv[1]) if len(sys.argv) > 1 else 5, 0.0
    print(f"{'model':<15}{'machine':<22}{'wish':<16}{'speed':<15}{'all':>9}{'ways':>7}{'ms':>8}")
    for model in ("mistral-7b", "llama-8b", "qwen3-30b-a3b", "llama-70b"):
        one = needs(MODELS[model], tuple(TYPES))
        for place, machine in MACHINES.items():
            for said, wish in WISHES.items():
                for known, pace in PACES.items():
                    ways = len(candidates({one.method: one}, machine, wish, oracle.loss, pace))
                    took = measure(one, machine, wish, pace, rounds)
                    worst = max(worst, took)
                    every = exhaustive(one, machine, wish)
                    print(f"{model:<15}{place:<22}{said:<16}{known:<15}{every:>9,}{ways:>7,}{took:>8.0f}")
    print(f"worst to the budget of {BUDGET_MS:g} ms: {worst / BUDGET_MS:.3f}")


if __name__ == "__main__":
    main()
