"""Keeps the measured cost of running models on this machine: `lqmf doctor --calibrate` measures it, LQMF's cache holds
it.

A record, its file, and the name of the machine that it holds for. Cheap to read in the chat: imports no llama.cpp.
Knows no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lqmf import workspace
from lqmf.records import from_json, to_json

_FORMAT = 2  # of the file and of how it was measured; a new one makes every older calibration unknown


@dataclass(frozen=True)
class Rate:
    """The speed of one tensor type: bytes of weights a second when one token is written, multiply-adds a second when a
    prompt is read. `copied` is how many further bytes llama.cpp keeps for each byte in the file, because it rearranges
    this type for this processor."""

    read_bytes_per_second: float
    multiply_adds_per_second: float
    copied: float = 0.0


@dataclass(frozen=True)
class Rates:
    """The rates of one device. `types` by ggml's name in small letters ("q4_k").

    `node_seconds` is the cost of each node of the graph of one token, beside its weights: waiting for the other
    threads, starting on another matrix. `cached_node_seconds` is that cost in a model that fits the processor's caches.
    `attention_per_second` and `prompt_attention_per_second` are multiply-adds, when one token is written and when a
    prompt is read; `passing_seconds` is the time between the matrices for one token of a prompt, for each multiply-add
    of its attention to one other token (both grow with layers and width). `vocabulary_seconds` is the time for each
    entry of the vocabulary, when a token is chosen. `expert_reading` and `expert_multiplying` say how many times as
    long a weight of an expert takes, when one token is written and when a prompt is read; `cached_reading` and
    `cached_multiplying` the share of a weight's time that it takes in a model that fits the processor's caches;
    `whole_token` and `whole_prompt` how many times as long whole models take as the sum of all this, where the caches
    do not hold them.
    """

    types: Mapping[str, Rate]
    node_seconds: float
    cached_node_seconds: float
    attention_per_second: float
    prompt_attention_per_second: float
    passing_seconds: float
    vocabulary_seconds: float
    cached_reading: float = 1.0
    cached_multiplying: float = 1.0
    expert_reading: float = 1.0
    expert_multiplying: float = 1.0
    whole_token: float = 1.0
    whole_prompt: float = 1.0


@dataclass(frozen=True)
class Calibration:
    """The measured costs on one machine. `machine` names the machine; `base_rss_bytes` is the memory of a process that
    runs models before it has loaded any (Python, libraries, this program); `vocabulary_rss_bytes` is the memory for
    each entry of a vocabulary."""

    machine: str
    cpu: Rates
    gpu: Rates | None
    base_rss_bytes: int
    vocabulary_rss_bytes: float

    @property
    def memory_bytes_per_second(self) -> float:
        """Return the memory's bandwidth in bytes/s, as far as the fastest type uses it."""
        return max(rate.read_bytes_per_second for rate in self.cpu.types.values())


def this_machine() -> str:
    """Return the name of the machine that a calibration holds for: "AMD EPYC, 2 threads, llama.cpp 0.3.36".

    Raises PackageNotFoundError where llama.cpp is not installed.
    """
    from lqmf.ggml.library import threads, version
    from lqmf.hardware import cpu_name

    return f"{cpu_name()}, {threads()} threads, {version()}"


def load() -> Calibration | None:
    """Load this machine's calibration; None where there is none for this processor, number of threads and llama.cpp."""
    from importlib.metadata import PackageNotFoundError

    try:
        machine = this_machine()
        known = from_json(Calibration, workspace.kept_json(_file(machine)))
    except (PackageNotFoundError, ValueError):
        return None
    return known if known.machine == machine else None


def save(calibration: Calibration) -> Path:
    """Write the calibration to its machine's file and return the path; a reader sees a whole file or none. Raises
    OSError."""
    path = _file(calibration.machine)
    workspace.keep_json(path, to_json(calibration))
    return path


def _file(machine: str) -> Path:
    name = hashlib.sha256(f"{_FORMAT} {machine}".encode()).hexdigest()[:16]
    return workspace.cache_dir() / "calibration" / f"{name}.json"
