"""`lqmf report` writes a page on what is named, where it may, and says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_writes_a_page_on_everything_into_this_folder(
    run: Run, make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    make_artifact("one_Q4_K_M"), make_artifact("two_Q8_0", type="Q8_0", bits=8)
    told = run("report", "--json")
    path = tmp_path / "report.html"
    assert told.code == 0
    assert told.document == {
        "status": "ok", "path": str(path), "size_bytes": path.stat().st_size,
        "artifacts": ["two_Q8_0", "one_Q4_K_M"], "measured": [],
    }  # fmt: skip
    assert run("report").out.strip() == f"✓ Wrote {path}, on 2 artifacts: open it in a browser."


def test_it_tells_of_what_is_named_alone(run: Run, make_artifact: Callable[..., Path], tmp_path: Path) -> None:
    make_artifact("one_Q4_K_M"), make_artifact("two_Q8_0", type="Q8_0", bits=8)
    told = run("report", "Q8_0", "two_Q8_0", "--out", "sub/mine.html", "--json")
    assert told.document["artifacts"] == ["two_Q8_0"]
    text = (tmp_path / "sub" / "mine.html").read_text(encoding="utf-8")
    assert "<h1>two_Q8_0</h1>" in text
    assert "one_Q4_K_M" not in text.partition('<script type="application/json"')[0].partition('id="history"')[0]


def test_a_file_that_is_no_report_is_left_alone_unless_forced(
    run: Run, make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    make_artifact("one_Q4_K_M")
    mine = tmp_path / "thesis.html"
    mine.write_text("years of work")
    refused = run("report", "--out", "thesis.html", "--json")
    assert refused.code == 2
    assert refused.document["error"]["message"] == f"{mine} is no report of LQMF's."
    assert mine.read_text() == "years of work"
    assert run("report", "--out", "thesis.html", "--force").code == 0
    assert run("report", "--out", "thesis.html").code == 0  # it is a report now
    assert run("report", "--out", str(tmp_path), "--json").document["error"]["code"] == "usage"


def test_without_artifacts_it_says_how_to_make_one(run: Run, tmp_path: Path) -> None:
    told = run("report", "--json")
    assert told.code == 1
    assert told.document["error"]["remedy"] == "`lqmf quantize demo` makes one."
    assert not (tmp_path / "report.html").exists()


def test_what_cannot_be_measured_by_layer_is_told_of_and_the_page_is_written(
    run: Run, make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    make_artifact("one_Q4_K_M")
    told = run("report", "--layers", "--json")
    assert told.document["measured"] == []
    assert "one_Q4_K_M is not measured by layer: Its source, org/m, is not on this machine" in " ".join(
        told.err.split()
    )
    assert (tmp_path / "report.html").exists()


def test_a_sentence_makes_a_report_too(run: Run, make_artifact: Callable[..., Path], tmp_path: Path) -> None:
    make_artifact("one_Q4_K_M")
    told = run("make me a report with charts")
    assert told.code == 0
    assert (tmp_path / "report.html").exists()
