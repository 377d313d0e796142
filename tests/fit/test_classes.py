"""Asked without a model, LQMF says what size of model fits: shapes that stand for their class, solved like a model."""

import functools

import pytest

from lqmf.cli.views.fit import sizes_view
from lqmf.fit import classes
from lqmf.fit.classes import CLASSES, SizeClass
from lqmf.fit.needs import Needs
from lqmf.fit.quality import expected_loss
from lqmf.fit.solver import Machine, Solution, Wish, solve
from lqmf.records import Loss
from tests.cli.test_views import drawn
from tests.commands import document, lqmf

GIB = 1 << 30
PUBLISHED_GB = {  # Q4_K_M files on the Hub: bartowski's repositories of these models
    "0.5B": 0.398, "1B": 0.808, "3B": 2.02, "8B": 4.92, "14B": 8.99, "30B-A3B": 18.6, "32B": 19.9, "70B": 42.5,
}  # fmt: skip


@pytest.mark.parametrize("size", CLASSES, ids=lambda size: size.name)
def test_a_class_is_as_large_as_the_model_that_stands_for_it(size: SizeClass) -> None:
    """Less exactly for 0.5B, most of whose rows are no multiple of 256, so that its published file has larger types."""
    made = classes.needs(size, ["Q4_K_M"], (), 1).weights["Q4_K_M"].file_bytes
    assert made == pytest.approx(PUBLISHED_GB[size.name] * 1e9, rel=0.05 if size.name == "0.5B" else 0.02)


def test_larger_classes_need_more_and_a_machine_has_an_end() -> None:
    fits = []
    for size in CLASSES:
        needs = classes.needs(size, ["Q4_K_M"], (8192,), 1)
        found = solve(
            {"gguf": needs},
            Machine(8 * GIB),
            Wish(context=8192),
            lambda _, *types: expected_loss(*types),
            lambda *_: None,
        )
        fits.append(found.recommended is not None)
    assert fits == sorted(fits, reverse=True)
    assert 0 < sum(fits) < len(CLASSES)


@pytest.mark.parametrize(
    ("gib", "priority", "said"),
    [
        (8, None, "up to 8B fits with little loss."),
        (8, "size", "up to 14B fits with a clear loss, yet usable."),
        (0.4, None, "No model of these sizes fits well."),
    ],
)
def test_the_line_below_the_sizes_says_what_the_wish_allows(gib: float, priority, said: str) -> None:
    told = drawn(sizes_view(fitting(Machine(int(gib * GIB), program_ram=150 << 20), Wish(priority=priority))), 100)
    assert said in " ".join(" ".join(told).split())


@pytest.mark.parametrize("width", range(44, 100, 4))
def test_in_a_narrow_terminal_the_sizes_lose_columns_and_no_figure_is_cut_short(width: int) -> None:
    view = sizes_view(fitting(Machine(16 * GIB, 7 * GIB, 150 << 20, 512 << 20), Wish()))
    whole, lines = " ".join(drawn(view, 200)).split(), [line for line in drawn(view, width) if line.strip()]
    rows = lines[2 : 2 + len(CLASSES)]
    assert [row.replace("★", "").split()[0] for row in rows] == [size.name for size in CLASSES]
    assert all(set(row.split()) <= set(whole) for row in rows)
    assert all("GB" in row or "does not fit" in row for row in rows)


def fitting(where: Machine, wish: Wish) -> dict[SizeClass, Solution]:
    def loss(_: str, *types: str) -> Loss:
        return expected_loss(*types)

    return {size: solve({"gguf": needed(size)}, where, wish, loss, lambda *_: None) for size in CLASSES}


@functools.cache
def needed(size: SizeClass) -> Needs:
    return classes.needs(size, ["Q4_K_M", "Q3_K_M"], (), 1)


def test_the_command_and_the_sentence_say_what_fits(tmp_path) -> None:
    told = document(tmp_path, "plan", "--memory", "8GB", "--device", "gpu")
    assert told["status"] == "sizes"
    by_name = {one["size"]: one for one in told["sizes"]}
    assert by_name["8B"]["fits"]
    assert by_name["8B"]["recommended"]["run"]["gpu_layers"] == 33
    said = lqmf(tmp_path, "what can I run on an 8GB card?")
    assert said.returncode == 0
    assert "8B" in said.stdout
    assert "as a whole on the GPU" in " ".join(said.stdout.split())


@pytest.mark.parametrize("billions", [0.3, 1.5, 7, 13, 24, 27, 40, 70, 104, 405, 2000])
def test_a_size_that_is_asked_about_is_answered_for_that_size(billions: float) -> None:
    size = classes.of(billions)
    assert size.name == f"{billions:g}B"
    half = classes.needs(size, ["F16"], (), 1).weights["F16"].file_bytes / 2e9
    assert half == pytest.approx(billions, rel=0.12 if billions >= 1 else 0.6)
    sizes = [classes._parameters(one.config) for one in classes.with_size(size)]
    assert sizes == sorted(sizes)
    assert len(sizes) == len(CLASSES) + (size not in CLASSES)


def test_a_question_on_a_size_and_a_card_is_answered_for_both_and_says_so(tmp_path) -> None:
    told = document(tmp_path, "can I run a 70b on my 3060?")
    assert told["asked"] == "70B"
    assert "12.0 GB on the GPU (RTX 3060" in told["assumed"]
    said = " ".join(lqmf(tmp_path, "can I run a 13b on my gpu?").stdout.split())
    assert said.startswith("✓ A model of 13B fits")
    assert "gpu_memory_limit" in said
    assert "--memory" in said
