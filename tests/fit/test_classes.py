"""Asked without a model, LQMF says what size of model fits: shapes that stand for their class, solved like a model."""

import pytest

from lqmf.fit import classes
from lqmf.fit.classes import CLASSES, SizeClass
from lqmf.fit.quality import expected_loss
from lqmf.utils.memory_optimizer import Machine, Wish, solve
from tests.commands import document, lqmf

GIB = 1 << 30
PUBLISHED_GB = {  # Q4_K_M files on the Hub: bartowski's repositories of these models
    "0.5B": 0.398, "1B": 0.808, "3B": 2.02, "8B": 4.92, "14B": 8.99, "30B-A3B": 18.6, "32B": 19.9, "70B": 42.5,
}  # fmt: skip


@pytest.mark.parametrize("size", [size for size in CLASSES if size.name != "0.5B"], ids=lambda size: size.name)
def test_a_class_is_as_large_as_the_model_that_stands_for_it(size: SizeClass) -> None:
    """0.5B is left out: its rows are no multiple of 256, so that its published file has larger types."""
    made = classes.needs(size, ["Q4_K_M"], (), 1).weights["Q4_K_M"].file_bytes
    assert made == pytest.approx(PUBLISHED_GB[size.name] * 1e9, rel=0.02)


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
