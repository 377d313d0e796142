"""Finds the instruction sets that this processor and its compiler have. Needs the standard library alone.

`native` gives the sets that the compiler would use if told to compile for this machine: it asks the processor and the
system. `that_run` trusts neither: it compiles instructions of each set and runs them. Knows nothing of llama.cpp but
the names of its options.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

X86 = ("x86_64", "amd64", "i686", "i386")
WITHOUT_AMX = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")
_NATIVE = ("-march=native", "-mcpu=native")  # the first that the compiler knows
_SET = re.compile(r"#define (__[A-Z0-9_]+__|__ARM_FEATURE_\w+) 1$", re.MULTILINE)
_TIMEOUT_SECONDS = 30

# llama.cpp's option for a set (GGML_AVX2): instructions of it, one for each flag that the option stands for
INSTRUCTIONS: dict[str, tuple[str, ...]] = {
    "SSE42": ("pcmpgtq %xmm0, %xmm0", "popcnt %eax, %eax"),
    "AVX": ("vaddps %ymm0, %ymm0, %ymm0",),
    "F16C": ("vcvtph2ps %xmm0, %ymm0",),
    "FMA": ("vfmadd213ps %ymm0, %ymm0, %ymm0",),
    "BMI2": ("pdep %eax, %eax, %eax",),
    "AVX2": ("vpaddd %ymm0, %ymm0, %ymm0",),
    "AVX_VNNI": ("{vex} vpdpbusd %ymm0, %ymm0, %ymm0",),
    "AVX512": (
        "vpaddd %zmm0, %zmm0, %zmm0",  # F
        "vplzcntd %zmm0, %zmm0",  # CD
        "vpaddd %xmm16, %xmm16, %xmm16",  # VL
        "vpmullq %zmm0, %zmm0, %zmm0",  # DQ
        "vpaddb %zmm0, %zmm0, %zmm0",  # BW
    ),
    "AVX512_VBMI": ("vpermb %zmm0, %zmm0, %zmm0",),
    "AVX512_VNNI": ("vpdpbusd %zmm0, %zmm0, %zmm0",),
    "AVX512_BF16": ("vdpbf16ps %zmm0, %zmm0, %zmm0",),
}


def is_x86() -> bool:
    """Return whether this machine's processor has x86 instructions."""
    return platform.machine().lower() in X86


def compiler() -> list[str]:
    """Return the C compiler's command: CC, else cc."""
    return shlex.split(os.environ.get("CC", "")) or ["cc"]


def compiler_version() -> str:
    """Return the first line of the compiler's `--version`; empty if there is no compiler."""
    return (_output([*compiler(), "--version"]).splitlines() or [""])[0]


def known_flags(flags: Iterable[str]) -> tuple[str, ...]:
    """Return those `flags` that the compiler accepts; none if there is no compiler."""
    return tuple(flag for flag in flags if _macros(flag))


def native() -> tuple[str, ...]:
    """Return the sets that the compiler would use for this very machine, by the compiler's names ("AVX2",
    "ARM_FEATURE_DOTPROD"), sorted. If no compiler answers, return the names of the machine and the processor
    instead."""
    told = next(filter(None, map(_macros, _NATIVE)), "")
    if not told:
        return (platform.machine(), platform.processor())
    beyond = set(_SET.findall(told)) - set(_SET.findall(_macros()))
    return tuple(sorted(name.strip("_") for name in beyond))


def that_run(prefix: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names in `INSTRUCTIONS` whose instructions this processor ran just now: none if it is of another
    family, or if there is no compiler. `prefix` is an emulator's command line."""
    if not is_x86():
        return ()
    with tempfile.TemporaryDirectory() as folder:
        return tuple(name for name, lines in INSTRUCTIONS.items() if _runs(lines, Path(folder), prefix))


def _runs(instructions: Sequence[str], folder: Path, prefix: Sequence[str]) -> bool:
    source, program = folder / "try.c", folder / "try"
    body = " ".join(f'__asm__ volatile("{_escaped(line)}" ::: "eax", "xmm0", "cc");' for line in instructions)
    source.write_text(f"int main(void) {{ {body} return 0; }}\n", encoding="ascii")
    try:
        made = subprocess.run([*compiler(), str(source), "-o", str(program)], capture_output=True, check=False)
        if made.returncode != 0:
            return False
        ran = subprocess.run([*prefix, str(program)], capture_output=True, check=False, timeout=_TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0


def _escaped(instruction: str) -> str:
    """Return `instruction` with %, { and } escaped, which mean something else in C's inline assembly."""
    return re.sub(r"([%{}])", r"%\1", instruction)


def _macros(*flags: str) -> str:
    """Return the macros that the compiler defines under `flags`; empty if it does not know them, or is not there."""
    return _output([*compiler(), *flags, "-dM", "-E", "-x", "c", os.devnull])


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
