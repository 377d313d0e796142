"""The scripted provider answers in order, and objects to what its script does not foresee."""

import asyncio
import json

import pytest

from lqmf.errors import KeyRefused, LqmfError, ProviderError, SettingsError
from lqmf.providers.base import Message, Usage
from lqmf.providers.scripted import Line, Scripted, ScriptError
from tests.providers.places import ASKED, GOOD, Advice, provider, streamed


def ask(of: Scripted) -> Advice:
    return asyncio.run(of.complete(ASKED, Advice, max_tokens=9, timeout_s=1.0)).value


def test_answers_come_in_order_and_what_was_asked_is_kept():
    script = Scripted([Line(answer=GOOD), Line(answer="Prose  of\nmany words."), Line(error="key_refused")])
    assert ask(script) == Advice(**GOOD)
    assert asyncio.run(streamed(script)) == ("Prose  of\nmany words.", None)
    with pytest.raises(KeyRefused):
        ask(script)
    assert script.asked == [tuple(ASKED)] * 3


def test_a_call_too_many_is_objected_to_and_is_no_providers_fault():
    with pytest.raises(ScriptError, match="no answer for call 1") as caught:
        ask(Scripted([]))
    assert not isinstance(caught.value, ProviderError)
    assert isinstance(caught.value, LqmfError)


def test_a_call_that_is_not_the_expected_one_is_objected_to():
    script = Scripted([Line(answer=GOOD, expects="Which type"), Line(answer=GOOD, expects="something else")])
    ask(script)
    with pytest.raises(ScriptError, match="something else"):
        ask(script)


def test_answers_that_nobody_asked_for_are_objected_to_at_the_end():
    script = Scripted([Line(answer=GOOD)] * 3)
    ask(script)
    with pytest.raises(ScriptError, match="2 more"):
        asyncio.run(script.close())
    asyncio.run(script.close())


def test_a_script_is_a_file_that_the_settings_name(tmp_path):
    path = tmp_path / "script.json"
    path.write_text(json.dumps([{"answer": GOOD, "tokens": [5, 6], "expects": "type"}]))
    made = provider(tmp_path, None, "scripted", scripted_file=str(path))
    done = asyncio.run(made.complete([Message("user", "a type")], Advice, max_tokens=9, timeout_s=1.0))
    assert (done.value, done.usage) == (Advice(**GOOD), Usage(5, 6))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "no script"),
        ("{}", "no script"),
        ('[{"answer": "a", "error": "provider"}]', "not both"),
        ("[{}]", "answer or an error"),
        ('[{"answr": "a"}]', "0 answr"),
    ],
)
def test_what_is_no_script_is_refused_with_the_reason(tmp_path, text, says):
    path = tmp_path / "script.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=says) as caught:
        Scripted.from_file(path)
    assert "scripted_file" in caught.value.remedy


def test_no_script_at_all_is_refused_with_the_way_to_one(tmp_path):
    for given in ({}, {"scripted_file": str(tmp_path / "gone.json")}):
        with pytest.raises(SettingsError) as caught:
            provider(tmp_path, None, "scripted", **given)
        assert "lqmf config set scripted_file" in caught.value.remedy
