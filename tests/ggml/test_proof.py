"""What does not run on this processor, or answers wrongly, is found out, and told as what it is."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from lqmf.ggml import instruction_sets, probe, proof
from tests.ggml.shims import GRAPH, LIE, NOTHING, PRODUCT, TRAP, needs_preload, shim

QEMU = shutil.which("qemu-x86_64")


def test_the_installed_llama_cpp_runs_here_and_every_type_is_computed_rightly() -> None:
    found = proof.prove()
    assert found.fault == ""
    assert found.computed >= len(probe.BATCHES) * len(probe.TYPES) + 2


@needs_preload
@pytest.mark.parametrize(
    ("function", "body", "fault"),
    [
        (PRODUCT, TRAP, f"{proof.ILLEGAL} (Q5_K weights times 1 in CPU memory)"),
        (GRAPH, TRAP, f"{proof.ILLEGAL} (a small Q4_K model)"),
        (PRODUCT, LIE, "its answers are wrong: Q5_K weights times 1 in CPU memory: "),
        (GRAPH, NOTHING, "its answers are wrong: a small Q4_K model: "),
    ],
    ids=["a product dies", "a model dies", "a product is wrong", "a model is wrong"],
)
def test_a_library_that_dies_or_lies_is_told_with_what_it_was_computing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, body: str, fault: str
) -> None:
    monkeypatch.setenv("LD_PRELOAD", shim(tmp_path, function, body)["LD_PRELOAD"])
    found = proof.prove()
    assert found.fault.startswith(fault)
    assert found.lasting


def test_what_is_killed_or_too_slow_may_end_otherwise_next_time() -> None:
    slow = proof.prove(timeout_seconds=0.01)
    assert "did not end" in slow.fault
    assert not slow.lasting
    killed = proof.prove(("sh", "-c", "kill -KILL $$"))
    assert "SIGKILL" in killed.fault
    assert not killed.lasting


def test_a_package_that_is_missing_is_no_fault_of_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError(\"No module named 'numpy'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = proof.prove()
    assert "No module named 'numpy'" in found.fault
    assert not found.lasting


def test_what_cannot_even_start_is_told_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "llama_cpp"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "libgomp.so.1" in proof.prove().fault


@pytest.mark.slow
@pytest.mark.skipif(not (QEMU and instruction_sets.is_x86()), reason="needs qemu-x86_64 (Debian: qemu-user)")
@pytest.mark.skipif("AVX" not in instruction_sets.native(), reason="this processor has no more than the emulated one")
def test_a_build_for_this_processor_is_found_to_die_on_one_of_2008() -> None:
    assert QEMU
    found = proof.prove((QEMU, "-cpu", "Nehalem", sys.executable))
    assert found.fault.startswith(proof.ILLEGAL)
