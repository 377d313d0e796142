"""A chat template is tried where it can neither run for ever nor fill the memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lqmf.model_files.template_check import template_verdict

CHATML = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
PARTS = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"


def folder(place: Path, config: Any = None, **files: str) -> Path:
    if config is not None:
        (place / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return place


@pytest.mark.parametrize(
    ("config", "files", "state"),
    [
        ({"chat_template": CHATML, "eos_token": {"content": "</s>"}}, {}, "renders"),
        (
            {"chat_template": [{"name": "tool_use", "template": "{{"}, {"name": "default", "template": CHATML}]},
            {},
            "renders",
        ),
        ({"chat_template": "{{"}, {"chat_template__jinja": CHATML}, "renders"),
        (None, {"chat_template__json": json.dumps({"chat_template": CHATML})}, "renders"),
        ({"chat_template": PARTS}, {}, "renders"),
        ({"chat_template": "{% for m in messages %}"}, {}, "fails"),
        ({"chat_template": "{{ raise_exception('never') }}"}, {}, "fails"),
        ({"chat_template": "{{ messages.__class__.__mro__ }}"}, {}, "fails"),
        ({"chat_template": "always the same"}, {}, "fails"),
        ({"eos_token": "</s>"}, {}, "none"),
        ({"chat_template": 7}, {}, "none"),
        ({"chat_template": [{"name": ["default"], "template": CHATML}]}, {}, "renders"),
        (None, {}, "none"),
        (None, {"tokenizer_config__json": "no json"}, "none"),
    ],
)
def test_a_template_is_tried_on_a_small_dialogue(
    config: Any, files: dict[str, str], state: str, tmp_path: Path
) -> None:
    assert template_verdict(folder(tmp_path, config, **files)).state == state


def test_a_template_that_fails_says_how(tmp_path: Path) -> None:
    found = template_verdict(folder(tmp_path, {"chat_template": "{{ raise_exception('system first') }}"}))
    assert "system first" in found.detail


@pytest.mark.parametrize(
    "template",
    ["{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "{{ 'a' * 9 ** 10 }}"],
)
def test_a_template_that_never_ends_or_fills_the_memory_is_one_that_fails(template: str, tmp_path: Path) -> None:
    found = template_verdict(folder(tmp_path, {"chat_template": template}))
    assert found.state == "fails"
    assert "more time or memory" in found.detail


def test_what_a_template_says_of_itself_is_kept_short(tmp_path: Path) -> None:
    found = template_verdict(folder(tmp_path, {"chat_template": "{{ raise_exception('x' * 9 ** 6) }}"}))
    assert len(found.detail) < 1000
