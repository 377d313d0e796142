"""The solver: its choice is the exhaustive search's, on written cases and on machines made up."""

from __future__ import annotations

import dataclasses
import functools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lqmf.fit.candidates import candidates
from lqmf.fit.needs import Needs
from lqmf.fit.quality import LITTLE, WEIGHTS, expected_loss
from lqmf.fit.solver import BOUNDS, Machine, Solution, Wish, solve
from lqmf.records import Candidate, Loss
from tests.fit import oracle
from tests.fit.cases import CASES, Case
from tests.fit.shapes import GIB, MODELS, Model
from tests.fit.shapes import needs as shaped

PACES = {"unmeasured": oracle.unknown, "measured": oracle.bandwidth}
CONTEXTS = (2048, 4096, 8192, 32768)
SMALL = Model(6, 512, 8, 4, 64, 1536, 8000, 32768)  # quick to try in every way


@functools.cache
def of(model: str, parallel: int = 1) -> Needs:
    return shaped(MODELS[model], parallel=parallel)


def machine(ram: float, gpu: float = 0) -> Machine:
    """`ram` and `gpu` in GiB that a plan may use."""
    return Machine(int(ram * GIB), int(gpu * GIB), 150 << 20, 512 << 20 if gpu else 0)


def solved(model: str, where: Machine, wish: Wish | None = None, pace: oracle.Pace = oracle.unknown) -> Solution:
    wish = wish or Wish()
    return solve({"gguf": of(model, wish.parallel)}, where, wish, oracle.loss, pace)


def advice(chosen: Candidate, layers: int) -> str:
    run = chosen.run
    on_gpu = "all" if run.gpu_layers == layers + 1 else "some" if run.gpu_layers else "no"
    return f"{chosen.type} {run.k_type}/{run.v_type} {run.context} {on_gpu}"


def costs(candidate: Candidate, *, paced: bool) -> tuple[float, ...]:
    run = candidate.run
    slow = (-candidate.speed.generation, 0) if paced and candidate.speed else (candidate.read_bytes, -run.gpu_layers)
    return candidate.loss.kl_nats, candidate.memory.total, *slow, -run.context, -run.ubatch


def held_against_everything(needs: Needs, where: Machine, wish: Wish, pace: oracle.Pace) -> Solution:
    """The solution, after the exhaustive search has said the same."""
    solution = solve({"gguf": needs}, where, wish, oracle.loss, pace)
    ways = oracle.everything(needs, where, wish, pace)
    if not ways:
        assert (solution.recommended, solution.pareto, solution.best) == (None, (), ())
        return solution
    chosen = solution.recommended
    assert chosen is not None
    assert chosen.memory.ram <= where.ram_bytes
    assert chosen.memory.gpu <= where.gpu_bytes
    paced = pace is not oracle.unknown
    undominated = oracle.undominated(ways)
    assert {costs(c, paced=paced) for c in solution.pareto} == undominated
    assert costs(chosen, paced=paced) in undominated
    assert chosen in solution.pareto
    expected = oracle.best([way for way in ways if way.costs in undominated], wish)
    assert (chosen.type, chosen.run) == (expected.type, expected.run)
    assert (chosen.memory.ram, chosen.memory.gpu) == (expected.ram, expected.gpu)
    return solution


# ---------------------------------------------------------------- written cases


def test_there_are_forty_cases_and_more() -> None:
    assert len({str(case) for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_advice_is_what_someone_who_knows_would_say(case: Case) -> None:
    solution = solved(case.model, machine(case.ram, case.gpu), case.wish)
    chosen = solution.recommended
    assert (chosen and advice(chosen, of(case.model).layers)) == case.advice


WISHED = [case for case in CASES if case.wish != Wish()]
OTHERS = {case.model for case in CASES} - {case.model for case in WISHED}
EXHAUSTED = [*WISHED, *(case for case in CASES if case.model in OTHERS)][:40]


def test_those_searched_exhaustively_are_forty_of_every_model_and_every_wish() -> None:
    assert len(EXHAUSTED) == 40
    assert {case.model for case in EXHAUSTED} == {case.model for case in CASES}


@pytest.mark.parametrize(
    ("case", "pace"), [(case, sorted(PACES)[place % 2]) for place, case in enumerate(EXHAUSTED)], ids=str
)
def test_the_choice_is_that_of_the_exhaustive_search(case: Case, pace: str) -> None:
    types = ("Q8_0", "Q4_K_M", "IQ4_XS", "IQ3_S", "Q2_K")
    needs = shaped(MODELS[case.model], types, contexts=CONTEXTS, parallel=case.wish.parallel)
    held_against_everything(needs, machine(case.ram, case.gpu), case.wish, PACES[pace])


# ---------------------------------------------------------------- properties

MIB = 1 << 20
AMOUNTS = st.integers(0, 120)  # MiB: from too little to more than enough for the small model
WISHES = st.builds(
    Wish,
    context=st.sampled_from((None, None, 2048, 8192, 12000, 32768)),
    priority=st.sampled_from((None, "quality", "speed", "size")),
    device=st.sampled_from((None, None, "cpu", "gpu")),
    types=st.sampled_from((None, None, frozenset({"Q8_0", "Q3_K_M"}), frozenset({"Q4_K_M"}))),
    cache=st.sampled_from((None, None, ("q8_0", "q8_0"), ("f16", "q4_0"))),
    file_bytes=st.sampled_from((None, None, 10 * MIB)),
)


@functools.cache
def small(tied: bool = False) -> Needs:
    types = ("F16", "Q8_0", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K")
    return shaped(dataclasses.replace(SMALL, tied=tied), types, contexts=CONTEXTS, ubatches=(512, 64))


def room(ram: int, gpu: int) -> Machine:
    return Machine(ram * MIB, gpu * MIB, 4 * MIB, 6 * MIB)


@settings(max_examples=100, deadline=None)
@given(AMOUNTS, AMOUNTS, WISHES, st.sampled_from(sorted(PACES)), st.booleans())
def test_any_choice_is_that_of_the_exhaustive_search(ram: int, gpu: int, wish: Wish, pace: str, tied: bool) -> None:
    held_against_everything(small(tied), room(ram, gpu), wish, PACES[pace])


def expected(ram: int, gpu: int, wish: Wish) -> float | None:
    chosen = solve({"gguf": small()}, room(ram, gpu), wish, oracle.loss, oracle.unknown).recommended
    return chosen.loss.kl_nats if chosen else None


@settings(max_examples=200, deadline=None)
@given(AMOUNTS, AMOUNTS, st.integers(0, 60), st.integers(0, 60), WISHES)
def test_more_memory_never_gives_a_worse_loss(ram: int, gpu: int, more_ram: int, more_gpu: int, wish: Wish) -> None:
    """Never at all for quality; otherwise never beyond the priority's bound, if it is worse. (That a machine gets a GPU
    where there was none changes what a wish for one means, and is left out.)"""
    assume(gpu or not more_gpu or wish.device is None)
    before, after = expected(ram, gpu, wish), expected(ram + more_ram, gpu + more_gpu, wish)
    if before is not None:
        assert after is not None
        assert after <= max(before, BOUNDS[wish.priority])


@pytest.mark.parametrize("wish", [Wish(), Wish(context=32768), Wish(priority="speed"), Wish(priority="size")], ids=str)
@pytest.mark.parametrize("model", ["llama-8b", "mistral-7b", "gemma3-12b"])
def test_more_ram_never_gives_a_worse_loss_at_all_to_models_that_people_run(model: str, wish: Wish) -> None:
    found = [solved(model, machine(gib / 4), wish).recommended for gib in range(8, 60)]
    losses = [chosen.loss.kl_nats for chosen in found if chosen]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) > 20


@settings(max_examples=100, deadline=None)
@given(AMOUNTS, AMOUNTS, st.integers(1024, 40000), st.integers(0, 30000))
def test_a_longer_context_never_needs_less(ram: int, gpu: int, context: int, more: int) -> None:
    def needed(tokens: int) -> dict[tuple[object, ...], int]:
        found = candidates({"gguf": small()}, room(ram, gpu), Wish(context=tokens), oracle.loss, oracle.unknown)
        run_of = {c: c.run for c in found}
        return {(c.type, r.k_type, r.v_type, r.ubatch, r.gpu_layers): c.memory.total for c, r in run_of.items()}

    shorter, longer = needed(context), needed(context + more)
    assert all(total >= shorter[how] for how, total in longer.items() if how in shorter)


@settings(max_examples=100, deadline=None)
@given(AMOUNTS, AMOUNTS, WISHES)
def test_the_best_are_few_and_different_and_the_recommended_is_first(ram: int, gpu: int, wish: Wish) -> None:
    solution = solve({"gguf": small()}, room(ram, gpu), wish, oracle.loss, oracle.unknown)
    if solution.recommended is None:
        assert solution.ways_out or solution.least is None
        return
    assert solution.best[0] == solution.recommended
    assert len(solution.best) <= 5
    assert set(solution.best) <= set(solution.pareto)
    assert len({(c.type, c.run.k_type, c.run.v_type, c.run.context) for c in solution.best}) == len(solution.best)
    assert solution.why


# ---------------------------------------------------------------- promises


@pytest.mark.parametrize("model", ["llama-8b", "mistral-7b"])
@pytest.mark.parametrize("device", [None, "gpu"])
def test_a_card_of_8_gb_holds_a_7b_or_8b_model_and_8192_tokens(model: str, device: str | None) -> None:
    """All of it, with little loss, and less than the card has beside what is reserved for others."""
    reserve = 512 << 20
    card = Machine(8 * GIB, 8 * GIB - reserve, 150 << 20, 512 << 20)
    chosen = solved(model, card, Wish(context=8192, device=device)).recommended  # type: ignore[arg-type]
    assert chosen is not None
    assert chosen.run.gpu_layers == of(model).layers + 1
    assert chosen.memory.gpu + reserve < 8 * GIB
    assert chosen.loss.kl_nats <= LITTLE


def test_a_dense_30b_that_does_not_fit_the_card_is_answered_with_what_can_be_done() -> None:
    solution = solved("dense-30b", machine(32, 7.5), Wish(context=8192))
    chosen = solution.recommended
    assert chosen is not None
    assert 0 < chosen.run.gpu_layers <= 64
    assert "21 of 65 layers lie on the GPU, as many as fit; the rest runs from RAM." in solution.why
    assert solution.ways_out == (
        "With 13.2 GB more on the GPU, Q4_K_M lies there as a whole.",
        "A model with 35% of its parameters lies on the GPU as a whole as Q4_K_M.",
    )


def test_where_nothing_fits_the_least_is_named_and_each_way_out_has_its_figures() -> None:
    solution = solved("llama-8b", machine(8), Wish(context=32768, types=frozenset({"Q8_0"})))
    assert solution.recommended is None
    assert solution.least is not None
    assert (solution.least.type, solution.least.run.k_type) == ("Q8_0", "q4_0")
    assert solution.least.memory.ram > 8 * GIB
    assert solution.ways_out == (
        "With 32,768 tokens Q4_K_M, its cache in f16/q8_0, fits: 7.9 GB of memory, expected KL 0.032.",
        "With 4.2 GB more memory, Q8_0 fits.",
        "A model with 65% of its parameters fits as Q8_0.",
    )


def test_a_shorter_context_is_offered_first_and_a_quantized_cache_next() -> None:
    solution = solved("mistral-7b", machine(6), Wish(context=32768, cache=("f16", "f16")))
    assert solution.recommended is None
    assert solution.ways_out[0].startswith("With 16,384 tokens IQ4_XS fits: 5.9 GB")
    assert solution.ways_out[1].startswith("With 32,768 tokens Q4_K_M, its cache in q8_0/q4_0, fits")


def test_a_way_out_onto_the_gpu_says_what_it_takes_there() -> None:
    solution = solved("llama-8b", machine(3, 7.5), Wish(context=8192, device="cpu"))
    assert solution.recommended is None
    assert solution.ways_out[0] == (
        "With 8,192 tokens Q4_K_M fits: 5.9 GB on the GPU and 432 MB of RAM, expected KL 0.031."
    )


def test_fewer_bits_are_a_way_onto_the_gpu_as_a_whole() -> None:
    solution = solved("gemma3-12b", machine(16, 7.5), Wish(context=32768))
    assert solution.recommended is not None
    assert solution.recommended.run.gpu_layers <= of("gemma3-12b").layers
    assert solution.ways_out[0] == (
        "With 32,768 tokens IQ4_XS, its cache in q4_0, lies on the GPU as a whole: "
        "7.4 GB on the GPU and 939 MB of RAM, expected KL 0.074."
    )


def test_a_wish_that_leaves_no_type_has_no_least() -> None:
    solution = solved("llama-8b", machine(16), Wish(file_bytes=1_000_000))
    assert (solution.recommended, solution.least, solution.pareto) == (None, None, ())


def test_a_quantized_cache_is_recommended_for_what_it_makes_possible_and_says_so() -> None:
    exact = solved("llama-8b", machine(16, 7.5), Wish(context=16384))
    packed = solved("llama-8b", machine(16, 7.5), Wish(context=32768))
    assert exact.recommended is not None
    assert packed.recommended is not None
    assert (exact.recommended.run.k_type, packed.recommended.run.k_type) == ("f16", "q8_0")
    assert "For that its cache is in q8_0; in f16 not all would." in packed.why
    assert not any("cache" in sentence for sentence in exact.why)


def test_the_reasons_name_type_layers_context_and_room() -> None:
    assert solved("llama-8b", machine(16, 7.5)).why == (
        "Q4_K_M is the smallest type with little loss (expected KL 0.031).",
        "Every layer lies on the GPU.",
        "8,192 tokens of context fit without giving up anything else; ask for more if you need more.",
        "It takes 5.9 GB on the GPU and 432 MB of RAM; 1.6 GB are left of 7.5 GB.",
    )


def test_what_is_left_of_ram_is_said_beside_a_gpu_only_where_much_of_it_is_taken() -> None:
    tight = solved("llama-8b", machine(8, 3.5), Wish(context=8192, types=frozenset({"Q6_K"}))).why[-1]
    ample = solved("llama-8b", machine(32, 3.5), Wish(context=8192, types=frozenset({"Q6_K"}))).why[-1]
    assert [why.count(" are left of ") for why in (tight, ample)] == [2, 1]
    assert tight.endswith(" of 8.0 GB.")
    assert ample.endswith(" of 3.5 GB.")


def test_a_way_out_that_goes_beyond_the_size_wished_says_so() -> None:
    solution = solved("llama-8b", machine(16, 7.5), Wish(context=8192, file_bytes=3_300_000_000))
    assert any(way.endswith(" GB.") and ", in a file of " in way for way in solution.ways_out)


def test_a_machine_that_was_not_asked_about_so_many_chats_is_refused() -> None:
    with pytest.raises(ValueError, match="1 chats, the wish has 4"):
        solve({"gguf": of("llama-8b")}, machine(16), Wish(parallel=4), oracle.loss, oracle.unknown)


def test_keys_and_values_of_different_types_stay_off_the_gpu_unless_wished() -> None:
    mixed = ("q8_0", "q4_0")
    free = solved("llama-8b", machine(16, 7.5), Wish(context=8192))
    wished = solved("llama-8b", machine(16, 7.5), Wish(context=8192, cache=mixed))
    assert all(c.run.k_type == c.run.v_type for c in free.pareto if c.run.gpu_layers)
    assert wished.recommended is not None
    assert wished.recommended.run.gpu_layers == 33


def test_one_good_measurement_advises_nothing_coarser_than_the_usual_type() -> None:
    """A model that loses a tenth of what the table says with Q4_K_M is not given 2 bits for that."""
    measured = {"Q4_K_M": 0.1 * WEIGHTS["Q4_K_M"]}
    wish, where = Wish(context=4096), Machine(24 * GIB)

    def loss(method: str, type: str, k_type: str, v_type: str) -> Loss:
        return expected_loss(type, k_type, v_type, measured=measured)

    found = solve({"gguf": of("llama-8b", 1)}, where, wish, loss, lambda *_: None)
    assert found.recommended
    assert found.recommended.type == "Q4_K_M"


def test_keys_and_values_are_of_one_type_where_the_model_cannot_have_two() -> None:
    """libllama refuses it where the cache holds a compressed latent (DeepSeek-V2)."""
    whole = of("llama-8b", 1)
    latent = dataclasses.replace(whole, mixed_cache=False)
    pairs = [
        {
            (c.run.k_type, c.run.v_type)
            for c in candidates({"gguf": one}, machine(16), Wish(), oracle.loss, oracle.unknown)
        }
        for one in (whole, latent)
    ]
    assert len(pairs[0]) == 9
    assert pairs[1] == {("f16", "f16"), ("q8_0", "q8_0"), ("q4_0", "q4_0")}
