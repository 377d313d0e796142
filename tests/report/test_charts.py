"""Every chart holds the records' figures and no others, says what it leaves out and why, and plotly knows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lqmf.records import Footprint, Run, to_json
from lqmf.report.charts import answers, domains, history, layers, memory, predictions, size, speed
from lqmf.report.charts.placing import beside
from lqmf.report.parts import Chart
from lqmf.report.report import sections
from lqmf.report.subjects import Data, short_names
from tests.report.shelf import EVIL, Shelf, candidate, earlier, full

MODEL = "org/m"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def traces(chart: Chart, mode: str) -> list[Mapping[str, Any]]:
    assert chart.figure is not None
    return [trace for trace in chart.figure["data"] if mode in str(trace.get("mode"))]


def cells(chart: Chart, column: str) -> dict[str, str]:
    """A column of the table behind a chart, by the row's name."""
    assert chart.table is not None
    at = [each.title for each in chart.table.columns].index(column)
    return {row[0].text: row[at].text for row in chart.table.rows}


def test_plotly_itself_knows_every_property_of_every_figure(tmp_path: Path) -> None:
    from plotly.graph_objects import Figure

    figures = [chart.figure for section in sections(full(tmp_path).data()) for chart in section.charts if chart.figure]
    assert len(figures) == 9
    for figure in figures:
        Figure(figure)  # raises ValueError for what it does not know


def test_every_chart_comes_with_words_and_with_a_table(tmp_path: Path) -> None:
    for section in sections(full(tmp_path).data()):
        for chart in section.charts:
            if chart.figure:
                assert len(chart.summary) > 40, chart.id
                assert chart.table, chart.id
                assert all(len(row) == len(chart.table.columns) for row in chart.table.rows), chart.id
            else:
                assert chart.missing, chart.id
                assert chart.remedy, chart.id


def test_without_any_figure_every_chart_says_why_and_what_to_type(shelf: Shelf) -> None:
    shelf.put(MODEL, "Q8_0", 8, 1000, None, 1.0, receipt={}, plan={"candidates": []})
    bare = [dataclasses.replace(artifact, receipt=None) for artifact in shelf.artifacts]
    shelf.artifacts[:] = bare
    for section in sections(shelf.data()):
        for chart in section.charts:
            assert chart.figure is None, chart.id
            assert chart.remedy.startswith("lqmf "), chart.id
    (note,) = size.chart(shelf.data()).notes
    assert "not tested yet: `lqmf test" in note


# ---------------------------------------------------------------- size and speed


def test_the_front_holds_the_files_that_no_smaller_one_matches(shelf: Shelf) -> None:
    for type, size_bytes, loss in (("Q8_0", 800, 0.001), ("Q4_K_M", 400, 0.01), ("Q3_K_L", 410, 0.02)):
        shelf.put(MODEL, type, 4, size_bytes * 1_000_000, loss, 10.0)
    chart = size.chart(shelf.data())
    (front,) = [trace for trace in traces(chart, "lines") if "markers" not in trace["mode"]]
    assert list(front["x"]) == [400 / 1000, 800 / 1000]
    assert list(front["y"]) == [0.01, 0.001]
    assert cells(chart, "Pareto front") == {
        "org_m_gguf_Q8_0": "on it",
        "org_m_gguf_Q4_K_M": "on it",
        "org_m_gguf_Q3_K_L": "no",
    }


def test_losses_on_different_texts_or_of_different_models_share_no_front(shelf: Shelf) -> None:
    other = {"text": {"name": "mine", "sha256": "f" * 64}}
    for place in range(2):
        shelf.put(MODEL, "Q8_0", 8, 1000 + place, 0.002 - place * 1e-4, 10.0)
        shelf.put(MODEL, "Q4_K_M", 4, 500 + place, 0.02 - place * 1e-4, 10.0, receipt=other)
        shelf.put("org/n", "Q2_K", 2, 100 + place, 0.2 - place * 1e-2, 10.0)
    chart = size.chart(shelf.data())
    fronts = [list(trace["x"]) for trace in traces(chart, "lines") if "markers" not in trace["mode"]]
    assert [len(front) for front in fronts] == [2, 2, 2]
    assert any("same text" in note for note in chart.notes)


def test_what_lost_nothing_is_told_of_where_a_logarithm_cannot_show_it(shelf: Shelf) -> None:
    shelf.put(MODEL, "F16", 16, 1000, 0.0, 10.0)
    shelf.put(MODEL, "Q8_0", 8, 500, 0.001, 10.0)
    assert size.chart(shelf.data()).notes == ["Not shown: F16 (it lost nothing that could be measured)."]


def test_speeds_of_two_machines_are_said_not_to_compare(shelf: Shelf) -> None:
    shelf.put(MODEL, "Q8_0", 8, 1000, 0.001, 10.0)
    shelf.put(MODEL, "Q4_K_M", 4, 500, 0.01, 20.0, receipt={"measured_on": {"cpu": "another", "gpu": None}})
    chart = speed.chart(shelf.data())
    assert any("different machines" in note for note in chart.notes)
    assert cells(chart, "writing, tokens/s") == {"org_m_gguf_Q8_0": "10", "org_m_gguf_Q4_K_M": "20"}


# ---------------------------------------------------------------- memory


def test_bars_are_the_plans_own_parts_and_marks_what_the_test_found(shelf: Shelf) -> None:
    shelf.put(MODEL, "Q8_0", 8, 1 << 30, 0.001, 10.0, plan={"memory_bytes": 3 << 30})
    chart = memory.chart(shelf.data())
    assert chart.figure
    bars = {trace["name"]: list(trace["x"]) for trace in chart.figure["data"]}
    assert bars["weights, planned"] == [1.0]
    assert bars["KV cache, planned"] == [(1 << 30) // 5 / (1 << 30)]
    assert bars["measured in the test"] == [pytest.approx((round((1 << 30) * 1.03) + 90_000_000) / (1 << 30))]
    (line,) = chart.figure["layout"]["shapes"]
    assert line["x0"] == 3.0
    assert chart.notes == ["RAM of this machine: 24.0 GB, beyond the chart's right edge."]


def test_a_gpu_has_a_bar_of_its_own_with_its_own_limit(shelf: Shelf) -> None:
    run = Run(4096, gpu_layers=33)
    footprint = Footprint(1 << 20, 0, 0, 0, weights_gpu=5 << 30, cache_gpu=1 << 30)
    plan = {"device": "gpu", "run": to_json(run), "candidates": [candidate("Q4_K_M", 4, run, footprint)]}
    peaks = {"peak_memory_bytes": {"rss": 1 << 30, "gpu": 6 << 30}}
    shelf.put(MODEL, "Q4_K_M", 4, 5 << 30, 0.002, 40.0, plan=plan, receipt=peaks)
    chart = memory.chart(shelf.data())
    assert chart.figure
    weights = next(trace for trace in chart.figure["data"] if trace["name"] == "weights, planned")
    assert dict(zip(weights["y"], weights["x"], strict=True)) == {"Q4_K_M": 1 / 1024, "Q4_K_M, GPU": 5.0}
    assert any("GPU of this machine: 8.0 GB" in each["text"] for each in chart.figure["layout"]["annotations"])


def test_of_a_file_without_a_plan_only_what_was_measured_is_shown(shelf: Shelf) -> None:
    artifact = shelf.put(MODEL, "Q8_0", 8, 1000, 0.001, 10.0)
    (Path(artifact.path) / "manifest.json").unlink()
    chart = memory.chart(shelf.data())
    assert cells(chart, "weights, planned") == {artifact.name: "–"}
    assert cells(chart, "measured in the test")[artifact.name] != "–"
    assert "Only what was measured is shown of Q8_0 (LQMF did not make it: it has no plan)." in chart.notes


# ---------------------------------------------------------------- layers and kinds of text


def test_a_map_has_each_tensor_at_its_layer_and_kind(shelf: Shelf) -> None:
    artifact = shelf.put(MODEL, "Q4_K_M", 4, 1000, 0.002, 10.0)
    shelf.measure_layers(artifact, 3)
    (chart,) = layers.charts(shelf.data())
    assert chart.figure
    (map,) = chart.figure["data"]
    assert list(map["x"]) == ["0", "1", "2", "ends"]
    assert list(map["y"])[:3] == ["token_embd", "attn_q", "attn_k"]
    assert map["z"][0][:3] == [None, None, None]
    assert 10 ** map["z"][2][1] == pytest.approx(1e-5 * 2 * (1 + 0.25))
    assert "token_embd.weight" in map["hovertext"][0][3]
    assert len(chart.table.rows) == 22  # type: ignore[union-attr]


def test_a_measurement_of_an_earlier_artifact_of_the_same_name_is_not_shown(shelf: Shelf) -> None:
    artifact = shelf.put(MODEL, "Q4_K_M", 4, 1000, 0.002, 10.0)
    shelf.measure_layers(dataclasses.replace(artifact, created_at="2026-01-01T00:00:00+00:00"), 3)
    (chart,) = layers.charts(shelf.data())
    assert chart.figure is None
    assert chart.remedy == "lqmf report NAME --layers"


def test_kinds_of_text_are_shapes_of_their_own(tmp_path: Path) -> None:
    chart = domains.chart(full(tmp_path).data())
    assert [trace["name"] for trace in traces(chart, "markers")] == ["documentation", "prose", "code", "dialogue"]
    assert len({trace["marker"]["symbol"] for trace in traces(chart, "markers")}) == 4
    assert "most on code" in chart.summary


def test_scores_of_answers_are_the_benchmarks_own(shelf: Shelf) -> None:
    artifact = shelf.put(MODEL, "Q4_K_M", 4, 1000, 0.002, 10.0)
    shelf.benchmark(artifact, quality=0.9, coherence=0.8, agreement=None)
    chart = answers.chart(shelf.data())
    found = {trace["name"]: list(trace["x"]) for trace in traces(chart, "markers")}
    assert found == {"quality": [0.9], "coherence": [0.8], "agreement": [], "termination": []}
    assert cells(chart, "quality") == {artifact.name: "0.900"}
    assert cells(chart, "prompts") == {artifact.name: "12 of built-in"}


# ---------------------------------------------------------------- history and predictions


def test_history_joins_versions_and_keeps_what_was_deleted(shelf: Shelf) -> None:
    first = shelf.put(MODEL, "Q4_K_M", 4, 1000, 0.002, 10.0, made=3)
    shelf.put(MODEL, "Q4_K_M", 4, 1010, 0.0021, 10.0, made=5)
    gone = earlier(first, name="org_m_old", created_at="2026-11-02T09:00:00+02:00", deleted_at=1.0)
    elsewhere = earlier(first, name="other", model="org/else", created_at="2026-11-01T00:00:00+00:00")
    chart = history.chart(shelf.data([gone, elsewhere, earlier(first)]))
    (line,) = traces(chart, "lines")
    assert list(line["x"]) == ["2026-11-02 07:00:00", "2026-11-04 08:00:00", "2026-11-06 08:00:00"]
    assert list(line["marker"]["symbol"]) == ["circle-open", "circle", "circle"]
    assert cells(chart, "state") == {
        "org_m_old": "deleted",
        "org_m_gguf_Q4_K_M": "there",
        "org_m_gguf_Q4_K_M_v2": "there",
    }


def test_a_prediction_stands_at_what_was_measured_over_it(shelf: Shelf) -> None:
    told = {"kl_nats": {"predicted": 0.004, "measured": 0.002}, "unheard": {"predicted": 0, "measured": 1}}
    shelf.put(MODEL, "Q4_K_M", 4, 1000, 0.002, 10.0, receipt={"prediction": told})
    chart = predictions.chart(shelf.data())
    (points,) = traces(chart, "markers")
    assert (list(points["x"]), list(points["y"])) == ([0.5], ["KL divergence"])
    assert cells(chart, "within 10 %") == {"org_m_gguf_Q4_K_M": "no"}


# ---------------------------------------------------------------- names


def test_short_names_are_short_and_each_its_own(tmp_path: Path) -> None:
    data: Data = full(tmp_path).data()
    names = short_names([subject.artifact for subject in data.subjects])
    assert len(set(names)) == len(names)
    assert "Mistral-7B-v0.3 Q4_K_M v2" in names
    assert max(map(len, names)) < 40


def test_in_a_figure_a_hostile_name_has_no_markup_left(tmp_path: Path) -> None:
    figure = size.chart(full(tmp_path).data()).figure
    assert figure
    text = str(figure)
    assert EVIL not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_names_beside_crowded_points_stand_on_different_sides() -> None:
    sides = beside([1.0, 1.02, 1.05, 5.0], [0.1, 0.1, 0.1, 0.01], ["Q4_K_M"] * 4, (True, True))
    assert len(set(sides[:3])) == 3
    assert beside([1.0], [1.0], ["alone"], (True, False)) == ["bottom center"]
