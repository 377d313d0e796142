"""LLM settings come from every source in rising order, know where from, and show no key."""

import datetime

import pytest

from lqmf import settings
from lqmf.errors import SettingsError
from lqmf.providers import registry
from lqmf.providers.config import Budget, gemini_model, llm_keys, llm_settings
from lqmf.providers.prices import cost
from tests.providers.places import VARIABLES, configured


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_any_setting_nobody_is_asked(tmp_path):
    found = llm_settings(settings.load(tmp_path))
    assert (found.provider, found.order) == ("none", ())
    assert found.budget == Budget(200, 500_000, 1.0)


def test_each_source_wins_over_the_one_before_and_is_named(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(
        '{"llm_provider": "claude", "llm_wait_s": 1, "llm_fallbacks": ["openai", "local"], "claude_model": "a"}'
    )
    (tmp_path / ".env").write_text("LLM_WAIT_S=2\nCLAUDE_MODEL=b\nANTHROPIC_API_KEY=sk-ant-verysecret1\n")
    monkeypatch.setenv("CLAUDE_MODEL", "c")
    found = llm_settings(settings.load(tmp_path, {"llm_provider": "gemini"}))
    assert (found.provider, found.origin("llm_provider")) == ("gemini", "option")
    assert (found.wait_s, found.origin("llm_wait_s")) == (2, ".env")
    assert (found.model("claude"), found.origin("claude_model")) == ("c", "environment")
    assert (found.order, found.origin("llm_fallbacks")) == (("gemini", "openai", "local"), "config.json")
    assert found.origin("llm_timeout_s") == "default"
    assert found.key_source("claude") == "ANTHROPIC_API_KEY in .env"


def test_no_key_is_in_what_is_shown_of_the_settings(tmp_path):
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-verysecret22\nGOOGLE_API_KEY=AIzaverysecret\n")
    found = llm_settings(settings.load(tmp_path))
    assert "verysecret" not in repr(found) + str(found)
    assert found.required_key("openai") == "sk-verysecret22"


def test_the_older_names_of_geminis_key_and_models_are_accepted(tmp_path):
    (tmp_path / ".env").write_text("GOOGLE_API_KEY=AIzaolder\nGEMINI_MODEL=models/gemini-1.5-flash\n")
    found = llm_settings(settings.load(tmp_path))
    assert found.required_key("gemini") == "AIzaolder"
    assert found.key_source("gemini") == "GOOGLE_API_KEY in .env"
    assert found.model("gemini") == "gemini-3.5-flash-lite"
    assert gemini_model("gemini-pro") == "gemini-3.8-flash"
    assert gemini_model("models/gemini-3.8-flash") == gemini_model("gemini-3.8-flash") == "gemini-3.8-flash"


def test_the_newer_name_of_geminis_key_comes_first(tmp_path):
    (tmp_path / ".env").write_text("GOOGLE_API_KEY=older\nGEMINI_API_KEY=newer\n")
    found = llm_settings(settings.load(tmp_path))
    assert (found.required_key("gemini"), found.key_source("gemini")) == ("newer", "GEMINI_API_KEY in .env")


def test_a_missing_key_names_the_variable_the_line_and_the_way_without(tmp_path):
    with pytest.raises(SettingsError) as caught:
        llm_settings(settings.load(tmp_path)).required_key("claude")
    told = f"{caught.value.message} {caught.value.remedy}"
    for part in ("ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY=<your key>", ".env", "llm switch none"):
        assert part in told


@pytest.mark.parametrize("key", ["llm_provider", "llm_fallbacks"])
def test_a_provider_that_there_is_not_is_refused_by_name(tmp_path, key):
    (tmp_path / "config.json").write_text(f'{{"{key}": "clade"}}')
    with pytest.raises(SettingsError, match="no provider 'clade'"):
        settings.load(tmp_path)


def test_a_limit_can_be_taken_away_and_a_list_written_with_commas(tmp_path):
    assert settings.write_config(tmp_path, "llm_daily_cost", "none") is None
    assert settings.write_config(tmp_path, "llm_fallbacks", "Claude, local,claude") == ("claude", "local")
    found = llm_settings(settings.load(tmp_path))
    assert (found.budget.cost, found.fallbacks) == (None, ("claude", "local"))


def test_a_note_of_the_users_own_stays_in_the_file(tmp_path):
    (tmp_path / "config.json").write_text('{"//": "mine", "log_level": "info", "// x": 1}')
    settings.write_config(tmp_path, "llm_provider", "openai")
    assert list(settings.read_config(tmp_path)) == ["//", "log_level", "// x", "llm_provider"]


def test_an_own_artifact_is_the_local_providers_model(tmp_path):
    found = llm_settings(settings.load(tmp_path, {"local_artifact": "mine", "local_model": "theirs"}))
    assert found.model("local") == "mine"


def test_every_setting_of_the_record_is_a_setting():
    assert set(llm_keys()) <= set(settings.Settings.model_fields)


def test_a_price_that_ends_on_a_day_is_another_on_the_next():
    before, after = (
        cost("gemini-3.8-flash", 10**6, 10**6, datetime.date(*day)) for day in ((2026, 12, 31), (2027, 1, 1))
    )
    assert (before, after) == (4.5, 9.0)
    assert cost("gpt-6.1-terra", 1000, 100) == pytest.approx(0.0015)


def test_what_is_not_known_costs_nothing_that_could_be_said():
    assert cost("a-model-of-ones-own", 10, 10) is None
    assert cost("gpt-6.1-terra", None, 10) is None


@pytest.mark.parametrize("name", ["claude", "openai", "gemini", "local"])
def test_white_space_around_a_key_is_no_part_of_it_and_a_damaged_key_is_told_so(tmp_path, name):
    for key in ("key-1234\n", "  key-1234 ", "key-1234\r\n", "\tkey-1234"):
        assert configured(tmp_path, None, name, **{f"{VARIABLES[name]}_api_key": key}).clear_key(name) == "key-1234"
    for key, said in (
        ("key\x1b-secret", "a control character (U+001B) in place 4"),
        ("key secret", "white space (U+0020) in place 4"),
        ("“key", "a character (U+201C) in place 1"),
    ):
        with pytest.raises(SettingsError) as caught:
            registry.build(name, configured(tmp_path, None, name, **{f"{VARIABLES[name]}_api_key": key}), tmp_path)
        assert said in caught.value.message
        assert "secret" not in caught.value.message
