"""Collects the subjects of the report: artifacts with their manifests, plans, benchmarks and measurements by layer.

Reads the artifacts' folders and benchmarks/; knows no charts. A file that cannot be read is left out, never guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lqmf.artifacts import shelf
from lqmf.errors import LqmfError
from lqmf.quality import measures
from lqmf.quality.measures import as_mapping, number, reason
from lqmf.records import Artifact, Hardware, Manifest, QuantizationPlan
from lqmf.terminal import clean
from lqmf.workspace import read_json

LAYERS, BENCHMARK = "layers", "benchmark"  # kinds of files in benchmarks/, which hold their results under this name
_VERSION = re.compile(r"_v(\d+)$")


@dataclass(frozen=True)
class Subject:
    """An artifact on the page. `label` is short and unique on the page; `layers` is the newest measurement by layer,
    `benchmark` the newest benchmark."""

    artifact: Artifact
    label: str
    manifest: Manifest | None = None  # None where LQMF did not make the artifact, or its manifest is damaged
    layers: Mapping[str, Any] | None = None
    benchmark: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return clean(self.artifact.name)

    @property
    def model(self) -> str:
        return clean(self.artifact.model) or "unknown model"

    @property
    def receipt(self) -> Mapping[str, Any]:
        return self.artifact.receipt or {}

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """Return the receipt with the artifact's sizes, as measures read it."""
        return measures.document(self.artifact, self.artifact.receipt)

    @cached_property
    def plan(self) -> QuantizationPlan | None:
        """Return the plan as executed; None without a manifest."""
        return shelf.plan_of(self.manifest) if self.manifest else None

    def found(self, *where: str) -> float | None:
        """Return the number in the receipt below the keys `where`; None where there is none."""
        return number(self.document, *where)

    def reason(self, *where: str) -> str:
        """Return why the receipt holds no figure below the keys `where`."""
        if not self.receipt.get("checks"):
            return f"not tested yet: `lqmf test {self.name}` does it"
        return clean(reason(self.document, *where))

    @property
    def ground(self) -> tuple[Any, ...]:
        """Return (source, SHA-256 of the text, tokens a window): equal for two losses that are comparable."""
        text = as_mapping(self.receipt.get("text")).get("sha256")
        return self.model.casefold(), text, self.receipt.get("window_tokens")

    @property
    def machine(self) -> str:
        """Return the CPU and GPU on which the artifact was measured; "" where it was not."""
        where = as_mapping(self.receipt.get("measured_on"))
        return clean(" and ".join(str(where[name]) for name in ("cpu", "gpu") if where.get(name)))


@dataclass(frozen=True)
class Data:
    """The data of a report. `earlier` are the store's records of artifacts, deleted ones included."""

    subjects: Sequence[Subject]
    earlier: Sequence[Mapping[str, Any]]
    hardware: Hardware
    created_at: str  # ISO 8601, UTC
    version: str

    @property
    def models(self) -> list[str]:
        """Return the names of the models, in the order of the page."""
        return list(dict.fromkeys(subject.model for subject in self.subjects))

    def colour(self, model: str) -> int:
        """Return the index of the colour that stands for `model` on every chart."""
        return self.models.index(model) if model in self.models else len(self.models)


def subjects(artifacts: Sequence[Artifact], benchmarks: Path) -> list[Subject]:
    """Return the artifacts as subjects, with their manifests and their newest files in the folder `benchmarks`."""
    labels = short_names(artifacts)
    measured = {kind: list(documents(benchmarks, kind)) for kind in (LAYERS, BENCHMARK)}
    return [
        Subject(
            artifact,
            label,
            _manifest(artifact),
            **{kind: newest(artifact, kind, found) for kind, found in measured.items()},
        )
        for artifact, label in zip(artifacts, labels, strict=True)
    ]


def _manifest(artifact: Artifact) -> Manifest | None:
    try:
        return shelf.manifest_of(artifact)
    except (LqmfError, OSError):
        return None


def documents(benchmarks: Path, kind: str) -> Iterator[Mapping[str, Any]]:
    """Yield every file of `kind` in the folder `benchmarks` that can be read."""
    for path in sorted(benchmarks.glob("*.json")) if benchmarks.is_dir() else ():
        try:
            document = as_mapping(read_json(path))
        except (LqmfError, OSError):
            continue
        if document.get("kind") == kind:
            yield document


def newest(artifact: Artifact, kind: str, measured: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the last of the documents `measured` on this very artifact, not on an earlier one of its name; None for
    none."""
    same = [each for each in measured if _about(each, artifact)]
    last = max(same, key=lambda each: str(each.get("measured_at")), default=None)
    return None if last is None else as_mapping(last.get(kind))


def _about(document: Mapping[str, Any], artifact: Artifact) -> bool:
    told = as_mapping(document.get("artifact"))
    return all(told.get(name) == getattr(artifact, name) for name in ("name", "created_at", "size_bytes"))


# ---------------------------------------------------------------- names


def short_names(artifacts: Sequence[Artifact]) -> list[str]:
    """Return a short unique name for each artifact: the type, before it the model where there are several models, after
    it the version."""
    several = len({artifact.model for artifact in artifacts}) > 1
    made = [_short(artifact, several) for artifact in artifacts]
    taken, seen = Counter(made), Counter[str]()
    unique = []
    for name in made:
        seen[name] += 1
        unique.append(name if taken[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _short(artifact: Artifact, several: bool) -> str:
    kind = artifact.type or f"{artifact.method} {artifact.bits}-bit"
    version = _VERSION.search(artifact.name)
    model = clean(artifact.model).rpartition("/")[2] if several else ""
    shortened = model if len(model) <= 18 else model[:17] + "…"
    return " ".join(part for part in (shortened, clean(kind), f"v{version[1]}" if version else "") if part)
