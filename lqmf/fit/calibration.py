"""What running models costs on this machine, measured once by `lqmf doctor --calibrate` and kept in LQMF's cache.

A record, its file, and the name of the machine that it holds for. Cheap to read in the chat: imports no llama.cpp.
Knows no model.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lqmf.records import from_json, to_json

_FORMAT = 2  # of the file and of how it was measured; a new one makes every older calibration unknown


@dataclass(frozen=True)
class Rate:
    """How fast one tensor type is: bytes of weights a second when one token is written, multiply-adds a second when a
    prompt is read. `copied` is how many bytes llama.cpp keeps besides, for each byte in the file, because it arranges
    this type anew for this processor."""

    read_bytes_per_second: float
    multiply_adds_per_second: float
    copied: float = 0.0


@dataclass(frozen=True)
class Rates:
    """One device. `types` by ggml's name in small letters ("q4_k").

    `node_seconds` is what each node of the graph of one token costs beside its weights: waiting for the other threads,
    starting on another matrix. `cached_node_seconds` is the same of a model that fits the processor's caches.
    `attention_per_second` and `prompt_attention_per_second` are multiply-adds, when one token is written and when a
    prompt is read; `passing_seconds` what a token of a prompt costs between the matrices, for each multiply-add of its
    attention to one other (both grow with layers and width). `vocabulary_seconds` is for each entry of the vocabulary,
    when one is chosen. `expert_reading` and `expert_multiplying` say how many times as long a weight takes that lies in
    an expert, when one token is written and when a prompt is read; `cached_reading` and `cached_multiplying` how
    much of the time a weight takes of a model that fits the processor's caches; `whole_token` and `whole_prompt` how
    much longer whole models take than the sum of all this, where the caches do not hold them.
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
    """`machine` says what it holds for. `base_rss_bytes` is what a process that runs models takes before it has one:
    Python, libraries, this program; `vocabulary_rss_bytes` what each entry of a vocabulary adds."""

    machine: str
    cpu: Rates
    gpu: Rates | None
    base_rss_bytes: int
    vocabulary_rss_bytes: float

    @property
    def memory_bytes_per_second(self) -> float:
        """The memory's bandwidth, as far as the fastest type uses it."""
        return max(rate.read_bytes_per_second for rate in self.cpu.types.values())


def this_machine() -> str:
    """What a calibration holds for: "AMD EPYC, 2 threads, llama.cpp 0.3.36". Raises PackageNotFoundError where
    llama.cpp is not installed."""
    from lqmf.ggml.library import threads, version
    from lqmf.hardware import cpu_name

    return f"{cpu_name()}, {threads()} threads, {version()}"


def load() -> Calibration | None:
    """This machine's calibration; None where it was not calibrated, or not with this llama.cpp and as many threads."""
    from importlib.metadata import PackageNotFoundError

    try:
        machine = this_machine()
        known = from_json(Calibration, json.loads(_file(machine).read_text(encoding="utf-8")))
    except (PackageNotFoundError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return known if known.machine == machine else None


def save(calibration: Calibration) -> Path:
    """Keep it for its machine; a reader sees a whole file or none. Raises OSError."""
    path = _file(calibration.machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(to_json(calibration), indent=1), encoding="utf-8")
    fresh.replace(path)
    return path


def _file(machine: str) -> Path:
    from lqmf.workspace import cache_dir

    name = hashlib.sha256(f"{_FORMAT} {machine}".encode()).hexdigest()[:16]
    return cache_dir() / "calibration" / f"{name}.json"
