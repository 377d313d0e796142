"""Settings come from config.json, .env, the environment and options, in rising order, and say so."""

import json

import pytest

from lqmf import settings
from lqmf.errors import SettingsError


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_each_source_overrides_the_one_before_and_is_named(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"max_retries": 1, "api_port": 1001, "log_level": "error", "api_host": "a"}')
    (tmp_path / ".env").write_text("API_PORT=1002\nLOG_LEVEL=WARNING\nAPI_HOST=b\nHF_ENDPOINT=http://elsewhere\n")
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("API_HOST", "c")
    loaded = settings.load(tmp_path, {"api_host": "d", "api_reload": None})
    seen = {
        key: (loaded.describe(key)["value"], loaded.describe(key)["source"]) for key in settings.Settings.model_fields
    }
    assert seen["models_dir"] == ("models", "default")
    assert seen["max_retries"] == (1, "config.json")
    assert seen["api_port"] == (1002, ".env")
    assert seen["log_level"] == ("debug", "environment")
    assert seen["api_host"] == ("d", "option")


def test_a_secret_is_never_shown(tmp_path):
    (tmp_path / ".env").write_text("HF_TOKEN=hf_verysecret\n")
    loaded = settings.load(tmp_path)
    assert loaded.describe("hf_token")["value"] == "set"
    assert "verysecret" not in repr(loaded.values) + json.dumps(loaded.describe("hf_token"))
    assert settings.secret(loaded, "hf_token") == "hf_verysecret"


@pytest.mark.parametrize(
    ("text", "says", "remedy"),
    [
        ('{"max_retrys": 5}', "no setting 'max_retrys'", "max_retries"),
        ('{"max_retries": "many"}', "config.json: max_retries", "Correct max_retries"),
        ('{"a": 1,\n "b" 2}', "line 2", "line 2"),
        ("[1]", "not a JSON object", "log_level"),
        ('{"api_port": 70000}', "api_port", "api_port"),
    ],
)
def test_a_wrong_config_file_is_refused_by_name_with_the_way_out(tmp_path, text, says, remedy):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SettingsError) as caught:
        settings.load(tmp_path)
    assert says in caught.value.message
    assert remedy in caught.value.remedy


def test_others_variables_in_the_environment_are_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("MAX_RETRYS", "5")
    (tmp_path / ".env").write_text("SOMEBODY_ELSES=1\n")
    assert settings.load(tmp_path).values.max_retries == 3


def test_setting_a_value_keeps_the_other_keys_and_their_order(tmp_path):
    (tmp_path / "config.json").write_text('{"log_level": "error", "api_port": 9}')
    assert settings.write_config(tmp_path, "storage_backend", "json") == "json"
    assert settings.write_config(tmp_path, "api_port", "8080") == 8080
    assert list(json.loads((tmp_path / "config.json").read_text()).items()) == [
        ("log_level", "error"),
        ("api_port", 8080),
        ("storage_backend", "json"),
    ]


@pytest.mark.parametrize(("key", "text"), [("api_port", "none"), ("storage", "json"), ("hf_token", "hf_x")])
def test_a_wrong_value_or_a_secret_leaves_the_file_as_it_was(tmp_path, key, text):
    (tmp_path / "config.json").write_text('{"api_port": 9}')
    with pytest.raises(SettingsError):
        settings.write_config(tmp_path, key, text)
    assert (tmp_path / "config.json").read_text() == '{"api_port": 9}'


def test_folders_may_lie_elsewhere(tmp_path):
    loaded = settings.load(tmp_path, {"models_dir": "/somewhere/else", "logs_dir": "log"})
    place = loaded.values.workspace(tmp_path)
    assert str(place.models) == "/somewhere/else"
    assert place.logs == tmp_path / "log"
    assert place.artifacts == tmp_path / "quantized-models"


def test_settings_of_parts_that_are_not_there_are_read_and_not_listed(tmp_path):
    (tmp_path / "config.json").write_text('{"api_port": 9001}')
    loaded = settings.load(tmp_path)
    assert loaded.describe("api_port")["value"] == 9001
    assert not any(name.startswith("api_") for name in settings.keys())  # noqa: SIM118 - a function
