"""Speed is timed where it was asked for, as often as time allows, and what cannot be timed says why."""

from __future__ import annotations

from lqmf.errors import OutOfMemory
from lqmf.quality.benchmark.scaling import Load, Point, measure, points

LOAD = Load(prompt_tokens=10, written_tokens=5, runs=3)


class Machine:
    """An engine with a clock: a hundredth of a second a token read, a tenth a step, whatever the number of chats."""

    def __init__(self, context_length: int = 1000, room: int = 10_000) -> None:
        self.context_length, self.room, self.now = context_length, room, 0.0
        self.fed: list[tuple[int, int]] = []
        self.texts: list[tuple[int, ...]] = []

    def clock(self) -> float:
        return self.now

    def batch(self, sequences: int, length: int) -> Machine:
        if sequences * length > self.room:
            raise OutOfMemory("no room", "less")
        return self

    def clear(self) -> None:
        pass

    def feed(self, sequences) -> None:
        assert len({len(sequence) for sequence in sequences}) == 1
        self.fed.append((len(sequences), len(sequences[0])))
        self.texts += [tuple(sequence) for sequence in sequences]
        self.now += 0.01 * len(sequences[0])

    def step(self) -> list[int]:
        self.now += 0.1
        return [0]

    def close(self) -> None:
        pass

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def take(machine, wanted, budget: float = 1e9, load: Load = LOAD) -> list[dict]:
    return list(measure(machine, list(range(50)), wanted, load, budget, machine.clock))


def test_every_depth_that_fits_is_timed_alone_then_with_several_chats():
    assert points(1000, 4, LOAD, (0, 512, 2048)) == [Point(1, 0), Point(1, 512), Point(4, 0), Point(4, 512)]
    assert points(1000, 1, LOAD, (0, 985, 986)) == [Point(1, 0), Point(1, 985)]


def test_what_stands_in_the_context_is_read_but_not_timed():
    machine = Machine()
    [row] = take(machine, [Point(1, 500)])
    assert machine.fed[:2] == [(1, 500), (1, 10)]
    assert abs(row["prompt"]["per_second"] - 100) < 1e-6
    assert abs(row["generation"]["per_second"] - 10) < 1e-6
    assert (len(row["generation"]["runs"]), row["generation"]["tokens"], row["reason"]) == (3, 5, None)


def test_the_tokens_of_all_chats_together_count():
    [row] = take(Machine(), [Point(4, 0)])
    assert abs(row["prompt"]["per_second"] - 400) < 1e-6
    assert abs(row["generation"]["per_second"] - 40) < 1e-6


def test_no_two_chats_and_no_two_runs_read_the_same_text():
    machine = Machine()
    take(machine, [Point(2, 0)])
    assert len(set(machine.texts)) == len(machine.texts)


def test_a_budget_ends_the_runs_but_not_the_first_and_leaves_out_what_takes_too_long():
    machine = Machine()
    shallow, deep = take(machine, [Point(1, 0), Point(1, 800)], budget=1.0)
    assert len(shallow["generation"]["runs"]) == 2
    assert deep["prompt"] is deep["generation"] is None
    assert deep["reason"] == "filling the context takes about 8 s, and 0 s are left"


def test_a_cache_larger_than_the_planned_context_is_left_out_but_several_short_chats_are_not():
    rows = take(Machine(context_length=600), [Point(4, 512), Point(100, 0)])
    assert rows[0]["reason"].startswith("it needs a cache of 2108 tokens")
    assert rows[1]["generation"] is not None


def test_an_engine_without_room_or_without_batches_says_so():
    assert take(Machine(room=10), [Point(1, 0)])[0]["reason"] == "no room"
    [row] = take(type("Plain", (), {"context_length": 100, "clock": lambda self: 0.0})(), [Point(1, 0)])
    assert row["prompt"] is None
    assert "cannot be timed" in row["reason"]
