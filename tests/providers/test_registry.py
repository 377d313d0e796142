"""A provider is one new file or an entry point; none costs an SDK's import before it is asked."""

import importlib.metadata
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from lqmf import settings
from lqmf.declared import entry_points, providers
from lqmf.declared.providers import Service
from lqmf.errors import ProviderNotReady, SettingsError
from lqmf.providers import registry
from lqmf.providers.config import llm_settings
from lqmf.providers.failures import sdk
from lqmf.providers.prices import cost
from lqmf.providers.scripted import Line, Scripted
from tests.providers.places import WIRED, configured, provider

NO_SDK = """
import sys, lqmf.app, lqmf.providers.calls, lqmf.providers.registry as registry
from pathlib import Path
from lqmf.settings import load
from lqmf.providers.config import llm_settings
keys = {f"{name}_api_key": "k" * 20 for name in ("anthropic", "openai", "gemini", "local")}
settings = llm_settings(load(Path("/nowhere"), keys))
for name in registry.names():
    if name != "scripted":
        registry.build(name, settings, Path("/nowhere"))
heavy = {"anthropic", "openai", "google.genai", "torch", "transformers", "llama_cpp", "numpy", "httpx2"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_making_providers_imports_no_sdk():
    done = subprocess.run([sys.executable, "-c", NO_SDK], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_there_is_not_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(SettingsError) as caught:
        registry.build("clod", configured(tmp_path, None, "claude"), tmp_path)
    assert all(name in caught.value.remedy for name in WIRED)
    for name in ("base", "registry", "../claude", "failures"):
        with pytest.raises(SettingsError):
            registry.build(name, configured(tmp_path, None, "claude"), tmp_path)


def made_elsewhere(settings, artifacts) -> Scripted:
    return Scripted([Line(answer="Hello.")])


@pytest.fixture
def afresh():
    """What is declared, read anew before and after."""
    caches = (entry_points.points, providers.services, settings.model, settings._given, settings.secrets)

    def forget():
        for cached in caches:
            cached.cache_clear()
        entry_points._faults.clear()
        entry_points._told.clear()

    forget()
    yield
    forget()


def install(monkeypatch, **factories):
    points = [EntryPoint(name, f"{__name__}:{name}", "lqmf.providers") for name in factories]
    monkeypatch.setattr(EntryPoint, "load", lambda self: factories[self.name])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "lqmf.providers" else [])


def test_others_add_theirs_by_an_entry_point(tmp_path, monkeypatch, afresh):
    install(monkeypatch, elsewhere=made_elsewhere)
    assert "elsewhere" in registry.names()
    assert isinstance(registry.build("elsewhere", configured(tmp_path, None, "claude"), tmp_path), Scripted)


def test_what_another_package_declares_are_settings_and_prices(tmp_path, monkeypatch, afresh):
    def factory(settings, artifacts):
        return made_elsewhere(settings, artifacts)

    factory.declared = Service(
        "elsewhere",
        keys=("elsewhere_token",),
        needs_key=True,
        model="m-1",
        address="http://e/v1",
        prices={"m-1": (1.0, 2.0)},
    )
    install(monkeypatch, elsewhere=factory)
    (tmp_path / ".env").write_text("ELSEWHERE_TOKEN=hush-hush\n")
    (tmp_path / "config.json").write_text('{"llm_provider": "elsewhere", "elsewhere_model": "m-2"}')
    loaded = settings.load(tmp_path)
    found = llm_settings(loaded)
    assert (found.order, found.model("elsewhere"), found.base_url("elsewhere")) == (
        ("elsewhere",),
        "m-2",
        "http://e/v1",
    )
    assert found.required_key("elsewhere") == "hush-hush"
    assert loaded.describe("elsewhere_token")["value"] == "set"
    assert cost("m-1", 1_000_000, 1_000_000) == 3.0


def test_a_broken_one_is_told_once_by_name_and_hurts_no_other(tmp_path, monkeypatch, afresh):
    install(monkeypatch, elsewhere=made_elsewhere, broken=7)
    assert {"elsewhere", "claude"} <= set(registry.names())
    assert "broken" not in registry.names()
    (told,) = entry_points.untold()
    assert "'broken'" in told
    assert entry_points.untold() == []
    with pytest.raises(SettingsError, match="broken"):
        registry.build("broken", configured(tmp_path, None, "claude"), tmp_path)


@pytest.mark.parametrize(("name", "variable"), [("claude", "ANTHROPIC"), ("openai", "OPENAI"), ("gemini", "GEMINI")])
def test_a_missing_key_names_the_variable_the_line_and_the_offline_way(tmp_path, monkeypatch, name, variable):
    for other in ("ANTHROPIC", "OPENAI", "GEMINI", "GOOGLE"):
        monkeypatch.delenv(f"{other}_API_KEY", raising=False)
    with pytest.raises(SettingsError) as caught:
        registry.build(name, configured(tmp_path, None, "local", llm_fallbacks=name), tmp_path)
    told = f"{caught.value.message} {caught.value.remedy}"
    assert all(part in told for part in (f"{variable}_API_KEY", ".env", "lqmf llm switch none"))


def test_a_library_that_is_not_installed_is_told_with_the_command_that_installs_it():
    with pytest.raises(ProviderNotReady) as caught:
        sdk("no_such_module_at_all", "nosuch", "claude")
    assert "pip install 'lqmf[llm]'" in caught.value.remedy
    assert caught.value.__context__ is None


def test_a_local_server_needs_no_key(tmp_path):
    assert provider(tmp_path, None, "local", local_api_key="").name == "local"
