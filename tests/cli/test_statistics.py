"""`lqmf stats --predictions` and the receipt's line: predictions beside measurements, for people and for programs."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lqmf.agents.memory_agent import MemoryAgent
from lqmf.cli.views.receipts import prediction_lines
from lqmf.cli.views.statistics import predictions_view
from lqmf.fit.corrections import fit
from lqmf.fit.predictions import compare
from lqmf.store.open import open_store
from tests.cli.conftest import Ran

Run = Callable[..., Ran]
ABOUT = {"model": "org/m", "type": "Q4_K_M", "method": "gguf", "device": "cpu"}


def row(quantity: str, predicted: float, measured: float, machine: str = "a processor") -> dict[str, Any]:
    told = {"quantity": quantity, "predicted": predicted, "uncorrected": predicted, "measured": measured}
    return {**ABOUT, **told, "machine": machine}


def drawn(view: Any, width: int) -> list[str]:
    console = Console(file=io.StringIO(), color_system=None, width=width)
    console.print(view)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.fixture
def remembered(home: Path) -> None:
    memory = MemoryAgent(functools.partial(open_store, "sqlite", home / "mcp"), home / "quantized-models")
    for job in range(5):
        found = [row("generation_tokens_per_second", 1000.0, 800.0), row("size_bytes", 4e6, 4e6 + job)]
        memory.remember_predictions(f"j{job}", "a", found)
    memory.close()


def test_without_any_it_says_what_makes_some(run: Run) -> None:
    told = run("stats", "--predictions")
    assert told.code == 0
    assert told.out.strip() == "· No prediction has met its measurement yet. `quantize demo` makes some."
    assert run("stats", "--predictions", "--json").document == {"predictions": []}


def test_a_program_gets_the_figures(run: Run, remembered: None) -> None:
    size, speed = run("stats", "--predictions", "--json").document["predictions"]
    assert size["quantity"] == "size_bytes"
    after = 800 / (1000 * 0.8 ** (4 / 6))  # four teach, the prior counts two
    assert speed == {
        "machine": "a processor", "device": "cpu", "method": "gguf", "quantity": "generation_tokens_per_second",
        "jobs": 5, "missed": 5, "ratio": 0.8, "median_error": pytest.approx(0.2), "worst_error": pytest.approx(-0.2),
        "uncorrected_error": pytest.approx(0.2), "corrected_error": pytest.approx(1 - after),
        "description": "writing, gguf on cpu: measured 0.80 x predicted over 5 jobs (error 20 % -> 7 %)",
    }  # fmt: skip


def test_people_get_a_table_and_what_was_learnt(run: Run, remembered: None) -> None:
    lines = [" ".join(line.split()) for line in run("stats", "--predictions").out.splitlines()]
    assert lines[0] == "a processor"
    assert "what method on jobs error worst corrected" in lines
    assert "writing gguf cpu 5 20 % -20 % 7 %" in lines
    assert lines[-1] == "writing, gguf on cpu: measured 0.80 x predicted over 5 jobs (error 20 % -> 7 %)"


def test_what_too_few_jobs_taught_is_not_told_as_learnt() -> None:
    lines = drawn(predictions_view([each.to_json() for each in fit([row("size_bytes", 4e6, 5e6)]).by_key.values()]), 80)
    assert lines[-1].strip() == "· Predictions are corrected after 3 jobs of a kind."
    assert not any("measured 1.25 x" in line for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_the_widest_table_fits_and_keeps_its_words_whole(width: int) -> None:
    rows = [row("quantize_rss_bytes", 1.0, 12.34, machine) for machine in ("a processor", "b" * 100)] * 12345
    lines = drawn(predictions_view([each.to_json() for each in fit(rows).by_key.values()]), width)
    assert max(map(len, lines)) <= width
    assert sum("memory to quantize" in line for line in lines) == 4
    assert ("uncorrected" in " ".join(lines)) == (width == 120)


# ---------------------------------------------------------------- the receipt's line


def test_a_receipt_without_predictions_has_no_line() -> None:
    assert list(prediction_lines({})) == list(prediction_lines({"prediction": {}})) == []


def test_a_receipt_tells_in_one_line_what_was_predicted_and_missed() -> None:
    predicted = {
        "kl_nats": 0.004, "prompt_tokens_per_second": 3000.0, "generation_tokens_per_second": 930.0,
        "size_bytes": 4.4e6, "peak_rss_bytes": 210.0 * 2**20, "quantize_seconds": 0.5,
    }  # fmt: skip
    found = {**predicted, "generation_tokens_per_second": 818.4, "peak_rss_bytes": 214.2 * 2**20, "kl_nats": 0.0038}
    (line,) = prediction_lines({"prediction": compare(predicted, found)})
    assert line == (
        "predicted",
        "",
        "size 4.4 MB (+0.0 %), memory 210 MB (+2 %), writing 930 tokens/s (-12 %): what was measured differs so much",
    )


def test_any_quantity_that_missed_is_told_of_in_its_own_unit() -> None:
    predicted = {"quantize_seconds": 90.0, "kl_nats": 0.004, "unheard\x07of": 3.0, "peak_gpu_bytes": 2.0**33}
    (line,) = prediction_lines({"prediction": compare(predicted, {name: 2 * v for name, v in predicted.items()})})
    assert line[2].startswith(
        "GPU memory 8.0 GB (+100 %), KL divergence 0.00400 (+100 %), time to quantize 1 min 30 s (+100 %), "
        "unheardof 3 (+100 %)"
    )


def test_where_all_was_met_no_more_is_said() -> None:
    assert [line[2] for line in prediction_lines({"prediction": compare({"kl_nats": 1.0}, {"kl_nats": 1.05})})] == [
        "as measured"
    ]
