"""Which instructions a processor carries out is found out by trying, and agrees with what the system says of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lqmf.ggml import instruction_sets

QEMU = shutil.which("qemu-x86_64")
OF_LINUX = {  # the flags in /proc/cpuinfo that stand for a set
    "SSE42": {"sse4_2", "popcnt"},
    "AVX": {"avx"},
    "F16C": {"f16c"},
    "FMA": {"fma"},
    "BMI2": {"bmi2"},
    "AVX2": {"avx2"},
    "AVX_VNNI": {"avx_vnni"},
    "AVX512": {"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"},
    "AVX512_VBMI": {"avx512vbmi"},
    "AVX512_VNNI": {"avx512_vnni"},
    "AVX512_BF16": {"avx512_bf16"},
}
of_intels_family = pytest.mark.skipif(not instruction_sets.is_x86(), reason="a processor of another family")


@of_intels_family
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux says what there is")
def test_the_sets_that_run_here_are_those_that_the_system_names() -> None:
    line = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    named = {name for name, flags in OF_LINUX.items() if flags <= set(line.split())}
    assert set(instruction_sets.that_run()) == named
    assert set(OF_LINUX) == set(instruction_sets.INSTRUCTIONS)


@of_intels_family
@pytest.mark.skipif(not QEMU, reason="needs qemu-x86_64 (Debian: qemu-user)")
@pytest.mark.parametrize(
    ("processor", "sets"),
    [("qemu64", ()), ("Nehalem", ("SSE42",)), ("Haswell", ("SSE42", "AVX", "F16C", "FMA", "BMI2", "AVX2"))],
)
def test_an_older_processor_runs_what_it_had(processor: str, sets: tuple[str, ...]) -> None:
    assert QEMU
    assert instruction_sets.that_run((QEMU, "-cpu", processor)) == sets


def test_only_flags_that_the_compiler_knows_are_given_to_it() -> None:
    assert instruction_sets.known_flags(("-O2", "-mno-such-thing")) == ("-O2",)


def test_without_a_compiler_the_processors_name_is_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = instruction_sets.native()
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert len(instruction_sets.native()) == 2 != len(compiled)
    assert instruction_sets.compiler_version() == ""
    assert instruction_sets.known_flags(("-O2",)) == ()
    assert instruction_sets.that_run() == ()
