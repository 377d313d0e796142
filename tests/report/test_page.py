"""The page is one file that ends no script early, lets nothing be fetched, and is known again as LQMF's."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lqmf.errors import LqmfError
from lqmf.report import page
from lqmf.report.report import page as page_of
from tests.report.shelf import EVIL, full


class Parts(HTMLParser):
    """The elements of a page, with what they would fetch, and the text of its scripts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attributes if name in ("src", "srcset", "data", "action")]
        self.fetched += [
            value or "" for name, value in attributes if name == "href" and not (value or "").startswith("#")
        ]
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page.render(page_of(full(tmp_path_factory.mktemp("shelf")).data()))


@pytest.fixture(scope="module")
def parts(text: str) -> Parts:
    found = Parts()
    found.feed(text)
    return found


def test_it_names_nothing_outside_of_itself(parts: Parts) -> None:
    assert parts.fetched == []
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(parts.tags)


def test_its_policy_allows_its_own_scripts_by_their_hash_and_nothing_from_a_network(text: str, parts: Parts) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    policy = policy.replace("&#39;", "'")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "unsafe" not in policy.partition("script-src")[2]
    _figures, *run = parts.scripts
    assert len(run) == 2
    for script in run:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy


def test_the_figures_are_json_that_cannot_end_their_script(parts: Parts) -> None:
    figures = json.loads(parts.scripts[0])
    assert set(figures) >= {"chart-size", "chart-memory", "chart-layers-3"}
    assert page.embedded({"</script><!--": "&"}) == '{"\\u003c/script\\u003e\\u003c!--":"\\u0026"}'


def test_a_hostile_name_is_escaped_in_the_page(text: str) -> None:
    assert EVIL not in text
    assert "<img src=x" not in text


def test_a_report_is_known_again_and_nothing_else_is(text: str, tmp_path: Path) -> None:
    ours, other = tmp_path / "report.html", tmp_path / "other.html"
    ours.write_text(text, encoding="utf-8")
    other.write_text("<html><body>LQMF report</body></html>")
    assert page.is_ours(ours)
    assert not page.is_ours(other)


def test_without_plotly_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(LqmfError, match="needs plotly") as raised:
        page.plotly_script()
    assert raised.value.remedy == "pip install plotly"
