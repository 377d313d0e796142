"""Random and mutated lines, and command lines with wild values: does anything fault, and does any take long?

    python bench/wild.py [lines] [command lines]    (20000 and 8000 where left out)

Lines are understood in dialogues of four. Command lines are read by the shell's own reader and then remembered as turns
would be, and the history is read back: nothing stored may spoil what comes after. Ends with 1 where something faulted.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lqmf.agents.memory_agent import MemoryAgent
from lqmf.cli import shell
from lqmf.errors import LqmfError
from lqmf.records import Decision
from lqmf.store.open import open_store
from lqmf.understanding.dialogue import Dialogue, step

Result = tuple[str, float, BaseException | None]  # a line, its milliseconds, what it raised
DIALOGUES = Path(__file__).parent.parent / "tests" / "understanding"
SEED = 19
LIMIT_MS = 50.0
ODD = [
    "9" * 200,
    "-1",
    "0",
    "nan",
    "inf",
    "1e999",
    "\udcff",
    "\x00",
    "\u202e",
    "ß" * 90,
    "don't " * 60,
    "(" * 300,
    "8GB,",
    "٣",
]
COMMANDS = """
    quantize plan preflight test benchmark compare list show stats history delete verify rebuild report docs
    config hf llm explain help resume disk parse"""
OPTIONS = """
    --bits --memory --ram --context --kv-type --parallel --target-size --type --method --device --limit --status
    --set --keep --test --priority --calibration --for"""


def spoken() -> list[str]:
    """The sentences of the tests."""
    lines = [line for path in sorted(DIALOGUES.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    return [turn["say"] for line in lines if line.strip() for turn in json.loads(line)["turns"]]


def mutated(sentences: list[str], chance: random.Random) -> str:
    """A sentence of the tests, or several, with parts cut, doubled, swapped or replaced."""
    words = [word for _ in range(chance.choice((1, 1, 1, 2, 8))) for word in chance.choice(sentences).split()]
    for _ in range(chance.randint(0, 6)):
        place = chance.randrange(len(words) + 1)
        change = chance.randrange(4)
        if change == 0:
            words[place:place] = [chance.choice(ODD)]
        elif change == 1:
            words[place:place] = words[place : place + 3] * chance.choice((1, 2, 40))
        elif change == 2:
            del words[place : place + 2]
        else:
            codes = (chance.choice((chance.randrange(32, 127), chance.randrange(0x3000))) for _ in range(9))
            words[place:place] = ["".join(map(chr, codes))]
    return " ".join(words)


def wild(chance: random.Random) -> list[str]:
    """A command's name with options that have values which nobody means."""
    values = [*ODD, "Q4_K_M", "4", "8GB", "16k", "gguf", "x", ""]
    words = [chance.choice(COMMANDS.split()), chance.choice(("demo", "gpt2", *ODD))]
    for _ in range(chance.randint(0, 3)):
        words += [chance.choice(OPTIONS.split()), chance.choice(values)]
    return words


def timed(work: Callable[[], object]) -> tuple[float, BaseException | None]:
    """Milliseconds of the processor for the work, and what it raised."""
    begun = time.process_time()
    try:
        work()
    except Exception as error:  # noqa: BLE001 - that nothing raises is what is measured
        return (time.process_time() - begun) * 1000, error
    return (time.process_time() - begun) * 1000, None


def understood(count: int, chance: random.Random) -> Iterator[Result]:
    """Each line with what understanding it took."""
    sentences, state = spoken(), Dialogue()
    for place in range(count):
        if place % 4 == 0:
            state = Dialogue()
        line = mutated(sentences, chance)
        kept = [state]

        def turn(line: str = line, kept: list[Dialogue] = kept) -> None:
            kept[0], _ = step(kept[0], line)

        yield line, *timed(turn)
        state = kept[0]


def carried_out(
    count: int, chance: random.Random, memory: MemoryAgent
) -> Iterator[tuple[str, float, BaseException | None]]:
    """Each command line with what reading it took; its decision is remembered."""
    from typer import Exit, TyperException

    for _ in range(count):
        words = wild(chance)

        def turn(words: list[str] = words) -> None:
            try:
                found = shell.read(words)
            except (TyperException, Exit, LqmfError):
                return
            decision = found.decision or Decision("unknown")
            memory.remember_turn("", " ".join(words), decision, "done")

        yield " ".join(words), *timed(turn)


def report(name: str, results: list[Result], limit_ms: float | None) -> bool:
    """Print what came of a kind of lines; whether all is well."""
    times = sorted(took for _, took, _ in results)
    faults = [(line, error) for line, _, error in results if error is not None]
    median, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    told = f"median {median:.2f} ms, p99 {p99:.2f} ms, worst {times[-1]:.1f} ms, faults {len(faults)}"
    print(f"{len(times)} {name}: {told}")
    for line, error in faults[:5]:
        print(f"  {type(error).__name__}: {error} at {ascii(line)[:200]}")
    slow = [(took, line) for line, took, _ in results if limit_ms and took > limit_ms]
    for took, line in sorted(slow, reverse=True)[:5]:
        print(f"  {took:.0f} ms: {ascii(line)[:200]}")
    return not faults and not slow


def main() -> int:
    """Run both kinds; returns the exit code."""
    counts = [int(word) for word in sys.argv[1:3]]
    lines, commands = (*counts, *(20000, 8000)[len(counts) :])
    chance = random.Random(SEED)
    for sentence in spoken()[:300]:
        step(Dialogue(), sentence)  # compiles the rules
    well = report("lines", list(understood(lines, chance)), LIMIT_MS)
    with tempfile.TemporaryDirectory() as folder:
        memory = MemoryAgent(lambda told: open_store("sqlite", Path(folder), told), Path(folder))
        well = report("command lines", list(carried_out(commands, chance, memory)), None) and well
        took, error = timed(lambda: json.dumps(memory.history(None)))
        print(
            f"history of {commands} read in {took:.0f} ms"
            if error is None
            else f"history: {type(error).__name__}: {error}"
        )
        memory.close()
    return 0 if well and error is None else 1


if __name__ == "__main__":
    sys.exit(main())
