"""How a proposal is told to a program: as the command that asks for it, and as `feedback` of a JSON document.

Knows options by their slots; knows nothing of how a step was chosen.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from lqmf.records import Decision, Feedback

OPTIONS: Mapping[str, str] = {
    "method": "--method",
    "type": "--type",
    "bits": "--bits",
    "device": "--device",
    "memory_gb": "--memory",
    "ram_gb": "--ram",
    "context": "--context",
    "kv_type": "--kv-type",
    "parallel": "--parallel",
    "target_size_gb": "--target-size",
    "priority": "--priority",
    "calibration": "--calibration",
    "adapter": "--adapter",
    "purpose": "--for",
    "test": "--test",
}
SWITCHES: Mapping[str, str] = {
    "imatrix": "imatrix",
    "cpu_fallback": "cpu-fallback",
    "keep_16bit": "keep-16bit",
}
FLAGS: Mapping[str, str] = {"discard_source": "--discard-source", "gate": "--gate"}
IN_GB = ("memory_gb", "ram_gb", "target_size_gb")


def command(decision: Decision) -> str:
    """Return a request as the line that asks for it in a shell, without `lqmf` before it."""
    return shlex.join([decision.intent, str(decision.slots["model"]), *_words(decision.slots)])


def document(feedback: Feedback) -> dict[str, Any]:
    """Return `feedback` of a `--json` document: {"sentences", "proposal": {"command", "slots"} or null}."""
    proposal = feedback.proposal
    told = (
        {"command": f"lqmf {command(proposal.decision)}", "slots": dict(proposal.decision.slots)} if proposal else None
    )
    return {"sentences": list(feedback.sentences), "proposal": told}


def _words(slots: Mapping[str, Any]) -> Iterator[str]:
    for name, option in OPTIONS.items():
        if slots.get(name) is not None:
            yield from (option, f"{slots[name]:g}GB" if name in IN_GB else _plain(slots[name]))
    for name, option in SWITCHES.items():
        if slots.get(name) is not None:
            yield f"--{option}" if slots[name] else f"--no-{option}"
    yield from (flag for name, flag in FLAGS.items() if slots.get(name))
    for kept in slots.get("keep") or ():
        yield from ("--keep", str(kept))
    for name, value in (slots.get("parameters") or {}).items():
        yield from ("--set", f"{name}={value}")


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
