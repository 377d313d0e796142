"""Makes the table of all artifacts, the figures above it, and the list of how they were measured. From records
alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lqmf.quality.measures import MEASURES, Measure, as_mapping, follow
from lqmf.records import Manifest
from lqmf.report.parts import Cell, Column, Table, number, significant, word
from lqmf.report.subjects import Data, Subject
from lqmf.terminal import clean
from lqmf.units import file_size


def table(data: Data) -> Table:
    """Return the table with a row for each artifact, in the order of the page, and a column for each measure that says
    which way is better and that at least one artifact has."""
    told = [subject.document for subject in data.subjects]
    found = [one for one in MEASURES if one.better and any(one.value(each) is not None for each in told)]
    columns = [Column("artifact"), Column("type"), *(Column(one.title, True) for one in found)]
    columns += [Column("gate"), Column("checks"), Column("method"), Column("model")]
    return Table("Artifacts", columns, [row(subject, found) for subject in data.subjects])


def row(subject: Subject, found: Sequence[Measure]) -> list[Cell]:
    """Return an artifact's cells: its type, the measures `found`, gate, checks, method and model; a missing figure has
    a reason."""
    artifact = subject.artifact
    return [
        word(subject.name),
        word(clean(artifact.type) or f"{artifact.bits}-bit"),
        *(cell(subject, one) for one in found),
        gate(subject),
        checks(subject),
        word(clean(artifact.method)),
        word(subject.model),
    ]


def cell(subject: Subject, one: Measure) -> Cell:
    """Return the cell of the measure `one` of an artifact."""
    value = one.value(subject.document)
    return number(value, "" if value is None else one.write(value), subject.reason(*one.path))


def checks(subject: Subject) -> Cell:
    """Return a cell with the number of checks passed, and the names of those that failed."""
    found = subject.receipt.get("checks")
    rows = [as_mapping(each) for each in found] if isinstance(found, list | tuple) else []
    if not rows:
        return Cell("–", None, subject.reason("checks"))
    failed = [clean(str(each.get("name"))).replace("_", " ") for each in rows if not each.get("passed")]
    passed = len(rows) - len(failed)
    return Cell(f"{passed} of {len(rows)}", passed / len(rows), mark=f"failed: {', '.join(failed)}" if failed else "")


def gate(subject: Subject) -> Cell:
    """Return a cell that says whether the artifact passed its gate."""
    passed = follow(subject.receipt, "gate", "passed")
    if not isinstance(passed, bool):
        return Cell("–", None, subject.reason("gate"))
    return Cell("passed" if passed else "failed", float(passed))


# ---------------------------------------------------------------- above and below the table


def figures(data: Data) -> list[tuple[str, str, str]]:
    """Return the figures at the head of the page as (name, value, explanation)."""
    subjects = data.subjects
    size = sum(each.artifact.size_bytes for each in subjects)
    sources = [each.artifact for each in subjects if each.artifact.source_size_bytes]
    told = [("artifacts", str(len(subjects)), f"of {len(data.models)} model{'s' * (len(data.models) != 1)}")]
    told.append(("size together", file_size(size), _saved(sources)))
    measured = [(loss, each) for each in subjects if (loss := each.found("kl_divergence", "mean")) is not None]
    if measured:
        loss, closest = min(measured, key=lambda pair: pair[0])
        told.append(("closest to its source", closest.label, f"KL {significant(loss)} nats a token"))
    speeds = [(speed, each) for each in subjects if (speed := each.found("tokens_per_second", "generation"))]
    if speeds and len({each.machine for _, each in speeds}) == 1:
        speed, fastest = max(speeds, key=lambda pair: pair[0])
        told.append(("fastest", fastest.label, f"{speed:,.0f} tokens written a second"))
    return told


def _saved(sources: Sequence[Any]) -> str:
    saved = sum((artifact.source_size_bytes or 0) - artifact.size_bytes for artifact in sources)
    return f"{file_size(saved)} less than their sources" if saved > 0 else ""


def grounds(data: Data) -> list[tuple[str, str]]:
    """Return (name, values) of the texts, engines, machines and versions behind the figures, each value once."""
    told: dict[str, dict[str, None]] = {}
    for subject in data.subjects:
        for name, value in _grounds(subject):
            told.setdefault(name, {})[value] = None
    return [(name, "; ".join(values)) for name, values in told.items()]


def _grounds(subject: Subject) -> list[tuple[str, str]]:
    receipt = subject.receipt
    text, where = as_mapping(receipt.get("text")), as_mapping(receipt.get("measured_on"))
    rows = []
    if text:
        window = receipt.get("window_tokens")
        sha = clean(str(text.get("sha256")))[:12]
        rows.append(("text", f"{clean(str(text.get('name')))} (SHA-256 {sha}…), windows of {window} tokens"))
    rows += [(title, clean(str(where[name]))) for name, title in _WHERE.items() if where.get(name)]
    rows += [("made by", _versions(subject.manifest))] if subject.manifest else []
    return rows


_WHERE: Mapping[str, str] = {"engine": "engine", "cpu": "processor", "gpu": "graphics card"}


def _versions(manifest: Manifest) -> str:
    return ", ".join(clean(f"{name} {version}") for name, version in manifest.versions.items())
