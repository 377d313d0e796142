"""What understanding costs: median and 99th percentile of milliseconds a sentence, over the tests' dialogues.

    python bench/understanding.py [rounds]

The first sentence of a process also compiles the rules; its time is printed apart.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from lqmf.understanding.dialogue import Dialogue, step

DIALOGUES = Path(__file__).parent.parent / "tests" / "understanding"
BUDGET_MS = 5.0


def dialogues() -> list[list[str]]:
    """The sentences of every dialogue in the tests."""
    lines = [line for name in ("dev.jsonl", "own.jsonl") for line in (DIALOGUES / name).read_text("utf-8").splitlines()]
    return [[turn["say"] for turn in json.loads(line)["turns"]] for line in lines if line]


def one_round(spoken: list[list[str]]) -> list[float]:
    """Milliseconds of each sentence."""
    times = []
    for sentences in spoken:
        state = Dialogue()
        for sentence in sentences:
            begun = time.perf_counter()
            state, _ = step(state, sentence)
            times.append((time.perf_counter() - begun) * 1000)
    return times


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    spoken = dialogues()
    first = one_round(spoken[:1])[0]
    one_round(spoken)
    times = sorted(took for _ in range(rounds) for took in one_round(spoken))
    median, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(f"{len(times)} sentences: median {median:.3f} ms, p99 {p99:.3f} ms, worst {times[-1]:.3f} ms")
    print(f"first sentence of the process, with compiling: {first:.1f} ms")
    print(f"p99 to the budget of {BUDGET_MS:g} ms: {p99 / BUDGET_MS:.3f}")


if __name__ == "__main__":
    main()
