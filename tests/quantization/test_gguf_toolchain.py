"""The converter is found, fetched once, whole or not at all, and never mixed with another version's."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lqmf.errors import ToolchainError
from lqmf.quantization.gguf.converter import toolchain

VERSION = "9.9.9"
FILES = {
    "vendor/llama.cpp/LICENSE": "MIT",
    "vendor/llama.cpp/convert_hf_to_gguf.py": "",
    "vendor/llama.cpp/convert_lora_to_gguf.py": "",
    "vendor/llama.cpp/conversion/__init__.py": 'TEXT_MODEL_MAP: dict[str, str] = {"LlamaForCausalLM": "llama"}\n',
    "vendor/llama.cpp/conversion/base.py": ' res = "gpt-2"\n res = "qwen2"\n res = "gpt-2"\n',
    "vendor/llama.cpp/gguf-py/gguf/__init__.py": "",
    "vendor/llama.cpp/src/llama.cpp": "not needed",
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "backend.py": f"""
import pathlib
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder, "llama_cpp_python-{VERSION}.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: {VERSION}\\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\\n")
    return info.name
""",
}


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and a llama-cpp-python whose source archive only the test has."""
    monkeypatch.setenv("LQMF_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("LQMF_LLAMA_CPP_DIR", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(toolchain, "installed_version", lambda: VERSION)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that pip looks in, through the user's own settings."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def archive(shelf: Path, files: dict[str, str] = FILES, *, hostile: bool = False) -> None:
    root = f"llama_cpp_python-{VERSION}"
    with tarfile.open(shelf / f"{root}.tar.gz", "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{root}/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
        if hostile:
            link = tarfile.TarInfo(f"{root}/vendor/llama.cpp/conversion/link.py")
            link.type, link.linkname = tarfile.SYMTYPE, "base.py"
            tar.addfile(link)


def test_it_is_fetched_once_through_the_users_pip(shelf: Path) -> None:
    archive(shelf)
    assert toolchain.find() is None
    found = toolchain.ensure()
    (shelf / f"llama_cpp_python-{VERSION}.tar.gz").unlink()
    assert toolchain.ensure() == found == toolchain.find()
    assert found.version == VERSION
    assert found.root.name == f"llama-cpp-python-{VERSION}"


def test_only_the_converters_own_files_are_kept(shelf: Path) -> None:
    """No links, no other sources, and nothing left over from the fetching."""
    archive(shelf, hostile=True)
    root = toolchain.ensure().root
    kept = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() or path.is_symlink()}
    assert kept == {
        name.removeprefix("vendor/llama.cpp/")
        for name in FILES
        if name.startswith("vendor/") and "/src/" not in name
    }  # fmt: skip
    assert {path.name for path in root.parent.iterdir()} == {root.name, f"{root.name}.lock"}


def test_two_that_fetch_at_once_both_find_it_whole(shelf: Path) -> None:
    archive(shelf)
    code = (
        "from lqmf.quantization.gguf.converter import toolchain as t; "
        f"t.installed_version = lambda: {VERSION!r}; print(t.ensure().version)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [child.communicate(timeout=120)[0].strip() for child in both] == [VERSION, VERSION]


def test_what_it_knows_is_read_without_importing_it(shelf: Path) -> None:
    archive(shelf)
    found = toolchain.ensure()
    assert found.architectures() == {"LlamaForCausalLM": "llama"}
    assert found.pretokenizers() == ("gpt-2", "qwen2")


def test_absent_and_out_of_reach_is_said_with_a_remedy(shelf: Path) -> None:
    with pytest.raises(ToolchainError, match=r"could not be fetched: Could not find a version") as error:
        toolchain.ensure()
    assert "lqmf doctor" in error.value.remedy
    assert toolchain.find() is None


def test_offline_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_kwargs: pytest.fail("pip was started"))
    with pytest.raises(ToolchainError, match="offline"):
        toolchain.ensure()


def test_an_archive_without_the_converter_leaves_nothing_behind(shelf: Path) -> None:
    archive(shelf, {name: text for name, text in FILES.items() if "conversion" not in name})
    with pytest.raises(ToolchainError, match="holds no converter"):
        toolchain.ensure()
    assert toolchain.find() is None


def test_a_checkout_comes_first_and_warns_that_nothing_ties_it_to_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "llama.cpp"
    for name, text in FILES.items():
        if name.startswith("vendor/llama.cpp/"):
            path = checkout / name.removeprefix("vendor/llama.cpp/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    monkeypatch.setenv("LQMF_LLAMA_CPP_DIR", str(checkout))
    found = toolchain.find()
    assert found is not None
    assert (found.origin, found.root) == ("checkout", checkout)
    assert VERSION in found.warning
    assert toolchain.ensure() == found


def test_a_folder_that_is_no_checkout_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LQMF_LLAMA_CPP_DIR", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"convert_hf_to_gguf\.py is missing"):
        toolchain.find()


def test_without_llama_cpp_python_the_install_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "installed_version", lambda: None)
    with pytest.raises(ToolchainError) as error:
        toolchain.ensure()
    assert "`lqmf doctor --fix`" in error.value.remedy
