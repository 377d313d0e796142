"""What was written down of each architecture before anything is tried: `expected.json`. Knows no backend.

A cell says `answer` (of a machine with a GPU, so that the model alone decides), what its reason `says`, by which
methods it can be done `instead`, whether the tool's own list has the class (`known`), and `why`. `bands` are how far an
artifact of a type may be from its source, by what is measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("expected.json")
METHODS = ("gguf", "gptq", "bnb")


@dataclass(frozen=True)
class Cell:
    """One method's part of one family."""

    answer: str
    why: str = ""
    says: str = ""
    instead: tuple[str, ...] = ()
    known: bool | None = None


@dataclass(frozen=True)
class Family:
    """One family; `name` is that of the model that stands for it. `kl_most` is less than its methods' bands where its
    predictions hang so much on the last token alone that little can be lost (the embedding is its head)."""

    name: str
    stands_for: str
    architecture: str
    model_type: str
    kind: str
    cells: Mapping[str, Cell] = field(default_factory=dict)
    kl_most: float = math.inf


@dataclass(frozen=True)
class Band:
    """Of one type: KL from the source in nats a token, of these models with their random weights; the cosine of an
    encoder's tokens."""

    kl_most: float
    cosine_least: float

    def takes(self, family: Family, measured: Mapping[str, Any]) -> bool:
        """Whether what was measured is that of a sound artifact of `family`."""
        if "cosine" in measured:
            return bool(measured["cosine"] >= self.cosine_least)
        return bool(0 < measured["kl"] <= min(self.kl_most, family.kl_most))


@dataclass(frozen=True)
class Expected:
    """All of it. `types` is what each method makes; `sources` where the answers come from."""

    families: Mapping[str, Family]
    types: Mapping[str, str]
    bands: Mapping[str, Band]
    sources: Mapping[str, str]

    def cells(self, *answers: str) -> Iterator[tuple[str, str]]:
        """(family, method) of every cell with one of `answers`."""
        for family in self.families.values():
            for method in METHODS:
                if family.cells[method].answer in answers:
                    yield family.name, method


def read(file: Path = FILE) -> Expected:
    """What the file says."""
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    families = [
        Family(**{**told, "cells": {method: _cell(cell) for method, cell in told["cells"].items()}})
        for told in document["families"]
    ]
    bands = {method: Band(**band) for method, band in document["bands"].items()}
    return Expected({one.name: one for one in families}, document["types"], bands, document["sources"])


def _cell(told: Mapping[str, Any]) -> Cell:
    return Cell(**{**told, "instead": tuple(told.get("instead", ()))})
