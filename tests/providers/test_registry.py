"""A provider is one new file or an entry point; none costs an SDK's import before it is asked."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from lqmf.errors import ProviderNotReady, SettingsError
from lqmf.providers import registry
from lqmf.providers.failures import sdk
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


def test_others_add_theirs_by_an_entry_point(tmp_path, monkeypatch):
    point = EntryPoint("elsewhere", f"{__name__}:made_elsewhere", "lqmf.providers")
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules["__main__"])
    monkeypatch.setattr(EntryPoint, "load", lambda self: made_elsewhere)
    monkeypatch.setattr(registry, "_entry_points", lambda: {"elsewhere": point})
    assert "elsewhere" in registry.names()
    assert isinstance(registry.build("elsewhere", configured(tmp_path, None, "claude"), tmp_path), Scripted)


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
