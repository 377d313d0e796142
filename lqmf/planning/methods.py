"""Chooses the method of a plan, with the reason: by the user's words, their purpose, and this machine. Part of the
Planner.

Pure; asks backends what they can do with a model, from metadata.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lqmf.declared import methods as declared
from lqmf.errors import UsageError
from lqmf.fit import budget
from lqmf.quantization.promise import Backend
from lqmf.records import Hardware, ModelInfo, Option, Question, Request, Source, Verdict

FINETUNE = "finetune"  # a purpose
USUAL_BITS = 4  # of methods that have it, and are hardly made with another width


@dataclass(frozen=True)
class Chosen:
    """A method, the reason for it, and the source of the choice."""

    name: str
    reason: str
    source: Source


def spelled(said: Request) -> Request:
    """Return the request with its type under the method's own name: GPTQ's weights are integers, so "int4" is its 4
    bits. Without a method, a type belongs to the first method that has it, under its own name before others."""
    if said.type is None:
        return said
    if said.method is None and said.type not in declared.types():
        owner = next((one for one in declared.offered().values() if said.type in one.aliases), None)
    else:
        owner = declared.of(said.method) if said.method else None
    return dataclasses.replace(said, type=owner.spelled(said.type)) if owner else said


Ask = Callable[[str], Verdict]  # whether a method can be used here, for this model


def choose(said: Request, info: ModelInfo, hardware: Hardware, backends: Mapping[str, Backend]) -> Chosen:
    """Choose the method for a request. Raises UsageError for GGUF in safetensors files."""
    method, type = said.method, said.type
    if method == "gguf" and said.format == "safetensors":
        raise UsageError("GGUF files are no safetensors.", "Say `--method gptq` or `--method bnb`.")
    if method:
        return Chosen(method, "as you said", "user")
    if owner := next((one for one in backends.values() if type in one.types), None):
        return Chosen(owner.name, f"{type} is a {owner.title} type", "rules")

    def ask(name: str) -> Verdict:
        return _able(backends.get(name), info, hardware)

    return _by_purpose(said, ask) or _by_format(said, hardware, ask) or _by_speed(said, hardware, ask)


def usual_type(backend: Backend) -> str:
    """Return the type that a method uses when the user names none: the recommended type of 4 bits, or of the bits of
    the first type that it declares."""
    widths = [kind.bits for kind in backend.types.values()]
    return backend.default_type(USUAL_BITS if USUAL_BITS in widths else widths[0])


def question(request: Request, backends: Mapping[str, Backend]) -> Question | None:
    """Return the question to ask where the method that the user said is not installed: which of the installed methods?
    No answer is recommended, so that nobody gets another method unasked. None where there is no need or no other
    method."""
    said = backends.get(str(request.method))
    missing = said.available() if said else Verdict("yes", "")
    others = [one for one in backends.values() if one is not said and one.available().answer != "no"]
    if said is None or missing.answer != "no" or not others:
        return None
    return Question(
        id="method",
        text=f"{missing.reason} {missing.remedy} Which of the methods that are here instead?",
        options=tuple(Option(one.name, f"{one.name}: {one.title}") for one in others),
        reason=f"{said.title} cannot be made without it.",
    )


def _able(backend: Backend | None, info: ModelInfo, hardware: Hardware) -> Verdict:
    if backend is None:
        return Verdict("no", "it is no method of this installation")
    missing = backend.available()
    return missing if missing.answer == "no" else backend.check(info, hardware)


def _by_purpose(said: Request, ask: Ask) -> Chosen | None:
    if said.purpose != FINETUNE:
        return None
    if (found := ask("bnb")).answer != "no":
        return Chosen("bnb", "adapters are trained on bitsandbytes nf4 (QLoRA)", "rules")
    return Chosen("gguf", f"to fine-tune on, bitsandbytes would be right, but: {found.reason}", "rules")


def _by_format(said: Request, hardware: Hardware, ask: Ask) -> Chosen | None:
    if said.format != "safetensors":
        return None
    if budget.wants_gpu(said, hardware) and ask("gptq").answer != "no":
        return Chosen("gptq", "of what writes safetensors, GPTQ is the fastest on a GPU", "rules")
    return Chosen("bnb", "it writes safetensors, and needs no calibration", "rules")


def _by_speed(said: Request, hardware: Hardware, ask: Ask) -> Chosen:
    if not budget.wants_gpu(said, hardware):
        return Chosen("gguf", "GGUF is the fastest on a CPU, and runs on every machine", "rules")
    if said.priority != "speed":
        return Chosen("gguf", "GGUF runs on every machine, on a GPU as far as it fits", "rules")
    if not hardware.gpus:
        return Chosen(
            "gguf", "a GGUF that lies on the GPU as a whole is fast; to make GPTQ takes the GPU itself", "rules"
        )
    if (found := ask("gptq")).answer != "no":
        return Chosen("gptq", f"speed on {hardware.gpus[0].name}: GPTQ is made for GPUs", "rules")
    return Chosen("gguf", f"a GGUF that lies on the GPU as a whole is fast; {found.reason}", "rules")
