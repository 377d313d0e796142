"""The facts that a provider is told: machine, model, candidates with their figures, measurements of similar jobs, the
user's words.

Pure; knows records, asks nobody. Every text passes the masks; the texts of users and repositories are fenced.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lqmf.fit.quality import CLEAR, LITTLE
from lqmf.model_files.refs import printable
from lqmf.providers.masking import Masks
from lqmf.providers.prompts import fenced
from lqmf.records import Candidate, Hardware, ModelInfo, QuantizationPlan, Request
from lqmf.units import file_size, memory_size

if TYPE_CHECKING:
    from lqmf.fit.classes import SizeClass
    from lqmf.fit.solver import Solution
    from lqmf.planning.request import PlanRequest

PATHS = ("calibration", "adapter")  # slots that hold one
MOST_JOBS = 6
MOST_WORDS = 2000  # characters of what the user typed
_LOCAL = "a model of the user's own"

Row = Mapping[str, Any]


def of_plan(
    request: PlanRequest,
    plan: QuantizationPlan,
    solution: Solution,
    choices: Sequence[Candidate],
    lines: Sequence[str],
    rows: Iterable[Row],
    masks: Masks,
) -> dict[str, str]:
    """Return the values of the template `plan`. `rows` are those of the store's predictions, newest first."""
    chosen = choices[0]
    told = {
        "machine": machine(request.hardware, plan),
        "candidates": [candidate(one) for one in choices],
        "choice": {"id": chosen.id, "why": list(solution.why)},
        "history": similar(rows, request.info, {one.type for one in choices}),
    }
    parts = {name: fenced("the program", masks.data(value)) for name, value in told.items()}
    return {
        **parts,
        "words": words(lines, masks),
        "said": said(request.said, masks),
        "model": fenced("the model's repository", masks.data(model(request))),
        "little": f"{LITTLE:g}",
        "clear": f"{CLEAR:g}",
    }


def of_models(
    asked: Request,
    hardware: Hardware,
    sizes: Mapping[SizeClass, Solution],
    lines: Sequence[str],
    masks: Masks,
) -> dict[str, str]:
    """Return the values of the template `models`."""
    fitting = [_size(size, found.recommended) for size, found in sizes.items()]
    return {
        "words": words(lines, masks),
        "said": said(asked, masks),
        "machine": fenced("the program", masks.data(machine(hardware))),
        "sizes": fenced("the program", masks.data(fitting)),
    }


def paths(asked: Request, info: ModelInfo | None = None) -> dict[str, str]:
    """Return the paths that the user said, by each way in which they may be spelled in the texts that go out."""
    given = [str(getattr(asked, name)) for name in PATHS if getattr(asked, name)]
    if info is not None and info.ref.kind == "local" and info.ref.path:
        given.append(info.ref.path)
    near = {os.path.relpath(path): path for path in given if os.path.isabs(path)}
    spelled = {**near, **{path: path for path in given}}
    return {text: path for text, path in spelled.items() if len(text) > 3 and not path.startswith("hub:")}


# ---------------------------------------------------------------- single facts


def words(lines: Sequence[str], masks: Masks) -> str:
    """Return the user's own lines, masked and fenced, the latest last."""
    return fenced("the user", masks.text("\n".join(lines)[-MOST_WORDS:]))


def said(asked: Request, masks: Masks) -> str:
    """Return the slots that the user said, masked and fenced: the program holds to them."""
    return fenced("the user", masks.data(asked.slots()))


def machine(hardware: Hardware, plan: QuantizationPlan | None = None) -> dict[str, Any]:
    """Return the processor, cores and memory of the machine; with a plan, also which memory it may use."""
    found: dict[str, Any] = {
        "cpu": hardware.cpu,
        "cores": hardware.cores,
        "ram": memory_size(hardware.ram_total_bytes),
        "ram_free": memory_size(hardware.ram_available_bytes),
        "gpus": [{"name": gpu.name, "memory": memory_size(gpu.memory_total_bytes)} for gpu in hardware.gpus],
    }
    reason = next((c.reason for c in plan.choices if c.name == "memory"), "") if plan else ""
    return {**found, "plan_memory": reason} if reason else found


def model(request: PlanRequest) -> dict[str, Any]:
    """Return the repository's facts about the model, cut short and printable, and the notes from reading its files."""
    info = request.info
    name = _LOCAL if info.ref.kind == "local" else info.ref.id
    texts = {"id": name, "architecture": info.architecture, "type": info.model_type, "license": info.license}
    notes = [note for needs in request.fit.needs.values() for note in needs.notes]
    return {
        **{key: printable(str(value), 100) if value else None for key, value in texts.items()},
        "parameters": info.parameters,
        "stored_as": info.dtype,
        "trained_context": info.context_length,
        "vocabulary": info.vocabulary,
        "has_chat_template": info.has_chat_template,
        "wants_remote_code": info.wants_remote_code,
        "access": info.access,
        "notes": [printable(note, 300) for note in notes],
    }


def candidate(one: Candidate) -> dict[str, Any]:
    """Return a candidate with its figures; sizes in words, as the user is shown them."""
    run, speed = one.run, one.speed
    return {
        "id": one.id,
        "type": one.type,
        "context": run.context,
        "chats": run.parallel,
        "cache": run.cache,
        "gpu_layers": run.gpu_layers,
        "file": file_size(one.file_bytes),
        "memory": memory_size(one.memory.total),
        "memory_on_gpu": memory_size(one.memory.gpu) if one.memory.gpu else None,
        "kl_nats": round(one.loss.kl_nats, 5),
        "tokens_per_second": round(speed.generation, 1) if speed else None,
    }


def similar(rows: Iterable[Row], info: ModelInfo, types: set[str]) -> list[dict[str, Any]]:
    """Return the measurements of jobs like this one, a dict for each job: jobs of the same model first, then of the
    same architecture, then of the same type; the newest first among equals."""
    jobs: dict[tuple[Any, Any], dict[str, Any]] = {}
    for row in rows:
        about = {"model": _public(row["model"]), "method": row["method"], "type": row["type"], "device": row["device"]}
        job = jobs.setdefault((row["job"], row["artifact"]), {"about": about, "measured": {}, "rank": ()})
        job["measured"][row["quantity"]] = float(f"{row['measured']:.4g}")
        job["rank"] = (
            row["model"] != info.ref.id,
            row["architecture"] != info.architecture,
            row["type"] not in types,
        )
    ranked = sorted((job for job in jobs.values() if not all(job["rank"])), key=lambda job: job["rank"])
    return [{**job["about"], **job["measured"]} for job in ranked[:MOST_JOBS]]


def _public(name: Any) -> str:
    """Return a model's name where it is on the Hub; the name of a user's folder is not told."""
    return str(name) if "/" in str(name) or name == "demo" else _LOCAL


def _size(size: SizeClass, chosen: Candidate | None) -> dict[str, Any]:
    if chosen is None:
        return {"size": size.name, "like": size.like, "fits": False}
    return {
        "size": size.name,
        "like": size.like,
        "fits": True,
        "type": chosen.type,
        "memory": memory_size(chosen.memory.total),
        "kl_nats": round(chosen.loss.kl_nats, 4),
        "tokens_per_second": round(chosen.speed.generation, 1) if chosen.speed else None,
    }
