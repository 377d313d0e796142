"""A figure is one row of one table: the terminal, the card, JSON, comparisons, the report and the reference read it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from lqmf.artifacts.card.model_card import model_card
from lqmf.cli import reference
from lqmf.cli.views.comparisons import comparison_view
from lqmf.cli.views.receipts import receipt_view
from lqmf.engines.promise import Engine
from lqmf.jobs.tasks import probe
from lqmf.quality import measures
from lqmf.quality.compare.comparison import compare
from lqmf.quality.measures import MEASURES, Measure
from lqmf.records import Artifact, Manifest, ModelRef, Receipt, Task, from_json, to_json
from lqmf.report.page import render
from lqmf.report.report import page
from lqmf.units import file_size, memory_size
from tests.fixtures_gguf import demo_gguf
from tests.report.shelf import Shelf

MODEL = "org/m"


def letters_a_token(engine: Engine) -> float:
    """How many letters of plain English a token of the model stands for."""
    text = "The weather of a place is what it is like outside at a given time."
    return len(text) / len(engine.tokenize(text))


ROW = Measure(
    "letters_a_token", "letters a token", ("figures", "letters_a_token"), "letters", "{:.3f}".format,
    "Letters of English in a token", better="higher", tested="exact", take=letters_a_token,
)  # fmt: skip


def drawn(view: object) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(view)
    return " ".join(captured.get().split())


@pytest.fixture
def added() -> Iterator[None]:
    """The table with one more row."""
    MEASURES.append(ROW)
    yield
    MEASURES.remove(ROW)


@pytest.mark.usefixtures("added")
def test_a_measure_added_by_one_row_is_measured_and_shows_everywhere(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    probed = probe.run(Task("j", "probe", {"artifact": str(demo_gguf("Q4_K_M"))}, ""), lambda event: None)
    value = probed["figures"]["letters_a_token"]
    assert value > 1
    receipt = to_json(from_json(Receipt, {**probed, "reasons": {}}))
    assert receipt["figures"] == {"letters_a_token": value}  # as `show --json` and receipt.json have it
    one = shelf.put(MODEL, "Q4_K_M", 4, 4_000_000, 0.002, 300.0, receipt={"figures": receipt["figures"]})
    other = shelf.put(MODEL, "Q8_0", 8, 8_000_000, 0.0001, 200.0, receipt={"figures": {"letters_a_token": value + 1}})
    figure = f"{value:.3f}"
    assert f"letters a token {figure}" in drawn(receipt_view(one, one.receipt or {}))
    manifest = Manifest(1, one.name, ModelRef("hub", MODEL), None, {}, {}, (), {}, one.created_at, 16_000_000)
    assert f"| Letters a token | {figure} |" in model_card(one, manifest, one.receipt)
    document = compare([one, other])
    row = next(row for row in document["rows"] if row["id"] == "letters_a_token")
    assert (row["values"], row["best"], row["better"]) == ([value, value + 1], [1], "higher")
    assert f"letters a token {figure} {value + 1:.3f} ★" in drawn(comparison_view(document))
    told = re.sub(r"<[^>]*>", " ", render(page(shelf.data())))
    assert "letters a token" in told
    assert figure in told
    assert "| `letters_a_token` | letters a token | `figures.letters_a_token` |" in reference.measures()


def test_the_same_bytes_read_the_same_on_screen_card_comparison_and_report(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    held = {"peak_memory_bytes": {"rss": 94_000_000, "gpu": None}}
    one, other = (shelf.put(MODEL, kind, 4, 4_790_000, 0.002, 300.0, receipt=held) for kind in ("Q4_K_M", "Q4_K_S"))
    size, memory = file_size(4_790_000), memory_size(94_000_000)
    assert (size, memory) == ("4.8 MB", "89.6 MB")
    manifest = Manifest(1, one.name, ModelRef("hub", MODEL), None, {}, {}, (), {}, one.created_at, 16_000_000)
    report = re.sub(r"<[^>]*>", " ", render(page(shelf.data())))
    views = (
        drawn(receipt_view(one, one.receipt or {})),
        model_card(one, manifest, one.receipt),
        drawn(comparison_view(compare([one, other]))),
        report,
    )
    for text in views:
        assert size in text
        assert memory in text
        assert "94.0 MB" not in text


def test_every_measure_has_a_name_of_its_own_and_says_what_it_is() -> None:
    assert len({one.id for one in MEASURES}) == len({one.label for one in MEASURES}) == len(MEASURES)
    assert len({one.path for one in MEASURES}) == len(MEASURES)
    for one in MEASURES:
        assert one.about[:1].isupper(), one.id
        assert not one.about.endswith("."), one.id
        assert one.tested is None or one.better, one.id
        assert not one.within or one.within in {other.id for other in MEASURES}, one.id


def test_every_measure_leads_to_a_field_that_a_receipt_has() -> None:
    fields = {field.name for field in dataclasses.fields(Receipt)} | {"compression_ratio"}
    assert {one.path[0] for one in MEASURES} <= fields


def test_what_is_missing_says_why_and_an_encoder_has_no_lines_on_predictions() -> None:
    artifact = Artifact("a", "/a", "gguf", 4, "Q4_K_M", 100, None, None)
    silent = measures.document(artifact, {"reasons": {"kl_divergence": "no source", "*": "not yet"}})
    told = {one.id: one.line(silent) for one in measures.shown(silent, "quality")}
    assert told["kl_divergence"] == ("KL divergence", "-", "no source")
    assert told["perplexity"] == ("perplexity", "-", "not yet")
    assert "embedding_cosine" not in told
    reads = measures.document(artifact, {"similarity": {"embedding_cosine": {"mean": 0.99, "min": 0.9}, "texts": 3}})
    assert [one.id for one in measures.shown(reads, "quality")] == ["embedding_cosine"]


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), True, "12", [], {}])
def test_only_a_finite_number_is_a_figure(wild: object) -> None:
    assert measures.named("perplexity").value({"perplexity": wild}) is None
