"""How records look: what was made and what failed, one record in full, the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.messages import Copied, notice_view
from lqmf.cli.views.receipts import receipt_view
from lqmf.cli.views.tables import Narrowing, cell, facts, table, when
from lqmf.operations import gating
from lqmf.quality.measures import number
from lqmf.records import Artifact, from_json
from lqmf.terminal import clean
from lqmf.units import duration, file_size, small

Record = Mapping[str, Any]
WEAK = "gate failed"  # an artifact that is there, and was found wanting
STYLES = {
    "ok": "green",
    WEAK: "yellow",
    "done": "green",
    "failed": "red",
    "interrupted": "yellow",
    "cancelled": "yellow",
    "deleted": "dim",
}


def list_view(records: Sequence[Record], status: str | None = None) -> RenderableType:
    """Artifacts and failed jobs, the newest first."""
    if not records:
        nothing = {"failed": "Nothing failed.", "ok": "Nothing was made yet. `quantize demo` makes a first one."}
        return notice_view(nothing.get(status or "", "Nothing was done yet. `quantize demo` makes a first one."))
    return Narrowing(lambda left_out: _rows(records, left_out), {"when": 70, "KL": 60})


def running_view(job: Record) -> RenderableType:
    """A job that runs now."""
    return notice_view(f"Running: {clean(str(job['title']))} ({job['id']}). `cancel` ends it.")


def _rows(records: Sequence[Record], left_out: frozenset[str]) -> RenderableType:
    names = [name for name in ("name", "status", "size", "KL", "when") if name not in left_out]
    rows = table(*names, right=("size", "KL"), keep=("status", "size", "KL", "when"))
    for record in records:
        kl = number(record.get("receipt"), "kl_divergence", "mean")
        cells: dict[str, str | Text] = {
            "name": _title(record),
            "status": _status(_state(record)),
            "size": file_size(record["size_bytes"]) if record.get("size_bytes") else "-",
            "KL": small(kl),
            "when": when(record.get("created_at")),
        }
        rows.add_row(*(cells[name] for name in names))
    return rows


def _title(record: Record) -> Text:
    if record["kind"] == "artifact":
        return Text(clean(record["name"]), style="bold")
    error = (record.get("error") or {}).get("message")
    title = Text(clean(str(record.get("title") or record["id"])))
    title.append(f"\njob {record['id']}" + (f": {clean(str(error))}" if error else ""), style="dim")
    if record.get("next"):
        title.append(f"\n`{clean(str(record['next'])).removeprefix('lqmf ')}`", style="dim")
    return title


def _state(record: Record) -> str:
    if record.get("present") is False and record["status"] == "ok":
        return "gone"
    if record["status"] == "ok" and gating.passed(record.get("receipt")) is False:
        return WEAK
    return str(record["status"])


def _status(status: str) -> Text:
    return Text(status, style=STYLES.get(status, ""))


def show_view(record: Record) -> RenderableType:
    """One record in full."""
    return {"artifact": _artifact, "job": _job, "model": _model}[record["kind"]](record)


def _artifact(record: Record) -> RenderableType:
    artifact = from_json(
        Artifact, {k: v for k, v in record.items() if k not in ("kind", "measurements", "benchmarks", "jobs", "run")}
    )
    rows = facts(
        [
            ("artifact", Text(clean(artifact.name), style="bold")),
            ("from", artifact.model),
            ("method", f"{artifact.method}, {artifact.bits} bit" + (f", {artifact.type}" if artifact.type else "")),
            ("made", when(artifact.created_at)),
            ("in", artifact.path),
            ("measurements", len(record["measurements"])),
            ("benchmarks", len(record["benchmarks"])),
        ]
    )
    if record.get("deleted_at"):
        return Group(rows, notice_view(f"Deleted on {when(record['deleted_at'])}."))
    elsewhere = _elsewhere(record.get("run"))
    if artifact.receipt and artifact.receipt.get("checks"):
        return Group(rows, receipt_view(artifact, artifact.receipt), *elsewhere)
    return Group(rows, notice_view(f"It was not measured yet: `test {artifact.name}`."), *elsewhere)


def _elsewhere(lines: Record | None) -> list[RenderableType]:
    """Lines to copy: what runs it in other programs just as it was planned for."""
    if not lines:
        return []
    return [
        Text("With llama.cpp, as it was planned for:", style="bold"),
        Copied(lines["llama_server"]),
        Text("With Ollama:", style="bold"),
        Copied(lines["ollama"]),
    ]


def _job(record: Record) -> RenderableType:
    error = record.get("error") or {}
    rows = facts(
        [
            ("job", Text(clean(str(record["id"])), style="bold")),
            ("what", record.get("title")),
            ("status", _status(str(record["status"]))),
            ("began", when(record.get("started_at"))),
            ("took", duration(record.get("seconds"))),
            ("artifact", record.get("artifact")),
            *([("next", f"`{record['next']}`")] if record.get("next") else []),
            *([("error", f"{error.get('message', '')} {error.get('remedy', '')}".strip())] if error else []),
        ]
    )
    stages = table("stage", "what", "when", keep=("stage", "when"))
    for event in record.get("events") or ():
        stages.add_row(cell(event.get("stage") or event.get("event")), cell(event.get("text")), when(event.get("at")))
    return Group(rows, stages) if record.get("events") else rows


def _model(record: Record) -> RenderableType:
    rows = [
        ("model", Text(clean(str(record["id"])), style="bold")),
        ("architecture", record.get("architecture")),
        ("weights", file_size(record["weights_bytes"]) if record.get("weights_bytes") else None),
        ("commit", record.get("commit")),
        ("artifacts", ", ".join(str(made["name"]) for made in record.get("artifacts") or ()) or None),
    ]
    return facts(rows)


def history_view(entries: Sequence[Record]) -> RenderableType:
    """Turns and jobs in order of time."""
    if not entries:
        return notice_view("Nothing was said or done yet.")
    rows = table("when", "", "what", "status", keep=("when", "status"))
    for entry in entries:
        mark, what = (">", entry["text"]) if entry["kind"] == "turn" else ("⚙", entry.get("title") or entry["id"])
        rows.add_row(when(entry.get("at")), mark, cell(what), _status(str(entry.get("status") or "")))
    return rows
