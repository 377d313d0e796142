"""Calibration, selection and evaluation share no passage; each kind of text is read as such a text is read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lqmf.errors import MeasurementError, UsageError
from lqmf.texts.evaluation import EVALUATION, MAIN, Reading, tokens

WORDS = 40  # in a row that two texts may not both have; shorter ones are phrases that documentation repeats
FOLDER = EVALUATION[MAIN].parent
USES = {
    "calibration": ("calibration.txt", "calibration_dialogues.jsonl", "calibration_code.txt"),
    "selection": ("selection.txt",),
    "evaluation": tuple(path.name for path in EVALUATION.values()),
}


def words(name: str) -> list[str]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    if name.endswith(".jsonl"):
        rows = [json.loads(line) for line in text.splitlines()]
        text = "\n".join(message["content"] for row in rows for message in row["messages"])
    return re.findall(r"\w+", text.lower())


def passages(names: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Every run of so many words."""
    found = set()
    for name in names:
        said = words(name)
        assert len(said) > 4000, name
        found |= {tuple(said[n : n + WORDS]) for n in range(len(said) - WORDS + 1)}
    return found


def test_what_calibrates_what_chooses_and_what_judges_share_no_passage():
    calibration, selection, evaluation = (passages(USES[use]) for use in ("calibration", "selection", "evaluation"))
    assert not calibration & selection
    assert not calibration & evaluation
    assert not selection & evaluation


def test_every_text_in_the_folder_has_a_use_and_its_source_in_notice():
    names = {name for use in USES.values() for name in use}
    assert {path.name for path in FOLDER.iterdir()} == names
    notice = (FOLDER.parents[2] / "NOTICE").read_text(encoding="utf-8")
    assert all(name in notice for name in names)


class Plain:
    """A tokenizer of characters, whose model begins texts with 0 and has a chat template where `template`."""

    vocabulary, context_length = 256, 99

    def __init__(self, template: bool = True, shift: int = 0) -> None:
        self._template, self._shift = template, shift

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        return [0] * bos + [ord(c) + self._shift for c in text]

    def render(self, messages: list[dict[str, str]], *, add_generation_prompt: bool = True) -> str:
        if not self._template:
            raise UsageError("none")
        return "".join(f"[{m['role']}]{m['content']}" for m in messages)


@pytest.fixture
def chat(tmp_path) -> Path:
    path = tmp_path / "chat.jsonl"
    rows = [{"messages": [{"role": "user", "content": "Hi" * 200}, {"role": "assistant", "content": "Ho"}]}] * 2
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize(("template", "begins"), [(True, "[user]Hi"), (False, "User: Hi")])
def test_dialogues_go_through_the_models_template_where_it_has_one(chat, template, begins):
    read = tokens(chat, Plain(template))  # type: ignore[arg-type]
    assert "".join(map(chr, read[1:])).startswith(begins)
    assert read.count(0) == 2  # each dialogue begins as the model begins a text


def test_a_plain_text_begins_once_and_its_windows_each(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("abcdefgh", encoding="utf-8")
    reading = Reading.by(Plain(), {"t": path})  # type: ignore[arg-type]
    assert reading.tokens["t"] == [0, *map(ord, "abcdefgh")]
    assert reading.windows("t", 4) == [[0, *map(ord, "abc")], [0, *map(ord, "efg")]]
    with pytest.raises(MeasurementError, match="9 tokens; a window needs 10"):
        reading.windows("t", 10)


def test_models_that_read_differently_are_told_apart(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("abc", encoding="utf-8")
    one, other = (Reading.by(Plain(shift=n), {"t": path}) for n in (0, 1))  # type: ignore[arg-type]
    one.must_be(one, "t")
    with pytest.raises(MeasurementError, match="different tokens"):
        one.must_be(other, "t")
