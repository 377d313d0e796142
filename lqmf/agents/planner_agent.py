"""The PlannerAgent: from what was said to a complete plan, asking only for what is missing and matters.

Pure: knows the slots, the model's metadata, the machine and the backends' promises; reads no file, asks nobody
itself. `next_question` says what to ask; `plan` builds the plan, each field with its reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, Protocol, cast

from lqmf.errors import ModelError, NotBuilt, UnsupportedModel, UsageError
from lqmf.quantization.base import Backend, QuantType
from lqmf.records import (
    Choice,
    Estimate,
    Hardware,
    ModelInfo,
    ModelRef,
    Option,
    QuantizationPlan,
    Question,
    Source,
)
from lqmf.units import GIB, file_size, memory_size

METHOD_OF_TYPE = {"nf4": "bnb", "fp4": "bnb", "int8": "bnb", "int4": "bnb"}
METHOD_TITLES = {"gptq": "GPTQ", "bnb": "bitsandbytes", "gguf": "GGUF"}
LADDER = ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "Q3_K_M", "Q2_K")  # what most people choose between, best advice first
BY_QUALITY = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
BY_SIZE = ("Q3_K_M", "Q4_K_M")  # Q2_K without an importance matrix loses too much to be advised
DEFAULT_CONTEXT = 4096
OVERHEAD_BYTES = 512 << 20  # program, compute buffers
RAM_SHARE = 0.7  # of the free memory: the rest is for everything else
START_QUESTION_BYTES = 1_000_000_000  # downloads above this are worth a question


class Adviser(Protocol):
    """Something that may recommend one of the planner's own options; None leaves the choice to the rules."""

    def recommend(self, question: Question, facts: Mapping[str, Any]) -> Any | None: ...


@dataclass(frozen=True)
class Request:
    """All that a plan is made from. `slots` is what the user said; `asked` the ids already answered;
    `advised` those of them whose answer was the recommended one; `download_bytes` what is not on this machine yet."""

    slots: Mapping[str, Any]
    info: ModelInfo
    hardware: Hardware
    asked: frozenset[str] = frozenset()
    advised: frozenset[str] = frozenset()
    download_bytes: int = 0


class PlannerAgent:
    """Makes plans. `backends` are those installed, `settings` the values that plans depend on."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        gpu_memory_limit_gb: float,
        cpu_fallback: bool = False,
        keep_16bit: bool = False,
        adviser: Adviser | None = None,
    ) -> None:
        self._backends = backends
        self._gpu_memory_limit_bytes = int(gpu_memory_limit_gb * GIB)
        self._cpu_fallback = cpu_fallback
        self._keep_16bit = keep_16bit
        self._adviser = adviser

    # ------------------------------------------------------------ what to ask

    def next_question(self, request: Request) -> Question | None:
        """The next thing that only the user can say, or None. Raises LqmfError for what cannot be done at all."""
        backend = self._backend(request)
        self._refuse_unusable(backend, request)
        for ask in (self._contradiction, self._type_question, self._no_gpu, self._start_question):
            question = ask(backend, request)
            if question and question.id not in request.asked:
                return self._advised(question, request)
        return None

    def _advised(self, question: Question, request: Request) -> Question:
        if self._adviser is None:
            return question
        value = self._adviser.recommend(question, {"slots": request.slots, "hardware": request.hardware})
        offered = [option.value for option in question.options]
        return dataclasses.replace(question, default=value) if value in offered else question

    def _contradiction(self, backend: Backend, request: Request) -> Question | None:
        bits, name = request.slots.get("bits"), request.slots.get("type")
        if bits is None or name is None or backend.types[name].bits == bits:
            return None
        own = backend.types[name].bits
        options = [Option({"type": name, "bits": own}, f"{name}, which has {own} bits")]
        if bits in {t.bits for t in backend.types.values()}:
            other = backend.default_type(bits)
            options.append(Option({"type": other, "bits": bits}, f"{bits} bits, as {other}"))
        return Question(
            id="bits",
            text=f"You said {bits}-bit and {name}, but {name} has {own} bits. Which do you mean?",
            options=tuple(options),
            default=options[0].value,
            reason=f"{name} is the more exact of the two.",
        )

    def _type_question(self, backend: Backend, request: Request) -> Question | None:
        slots = request.slots
        if slots.get("type") or slots.get("target_size_gb") or len(backend.types) < 2:
            return None
        names = self._offered(backend, request)
        if len(names) < 2:
            return None
        advised, reason = self._recommend(backend, request, names)
        ordered = [advised, *(n for n in names if n != advised)]
        return Question(
            id="type",
            text=f"Which {backend.title} type?",
            options=tuple(self._option(backend, request, name) for name in ordered),
            default=advised,
            reason=reason,
        )

    def _option(self, backend: Backend, request: Request, name: str) -> Option:
        size = self._estimate(backend, request, name).size_bytes
        kind = backend.types[name]
        label = f"{name}: {kind.bits_per_weight:.2f} bits/weight, {file_size(size)}. {kind.summary}"
        return Option(name, label.strip())

    def _no_gpu(self, backend: Backend, request: Request) -> Question | None:
        wants_gpu = request.slots.get("device") == "gpu" and not request.hardware.gpus
        if not wants_gpu or request.slots.get("cpu_fallback") is not None or self._cpu_fallback:
            return None
        return Question(
            id="cpu_fallback",
            text="There is no GPU here. Make and measure it on the CPU instead?",
            options=(Option(True, "yes, on the CPU"), Option(False, "no")),
            default=True,
            reason=f"A {backend.title} file runs on a GPU elsewhere all the same; only the measured speed differs.",
        )

    def _start_question(self, backend: Backend, request: Request) -> Question | None:
        estimate = self.plan(request, "question").estimate
        if estimate is None or estimate.download_bytes < START_QUESTION_BYTES:
            return None
        minutes = f", about {estimate.seconds / 60:.0f} minutes of work" if estimate.seconds else ""
        return Question(
            id="start",
            text=f"This downloads {file_size(estimate.download_bytes)} and needs up to "
            f"{file_size(estimate.disk_peak_bytes)} of disk on the way{minutes}. Start?",
            options=(Option(True, "yes, start"), Option(False, "no")),
            default=True,
            reason="Nothing has been downloaded yet but the model's description.",
        )

    # ------------------------------------------------------------ the plan

    def plan(self, request: Request, identifier: str) -> QuantizationPlan:
        """The complete plan; what is still open takes its recommended value. Raises LqmfError."""
        backend = self._backend(request)
        name, why_type, from_type = self._type(backend, request)
        device, why_device = self._device(request)
        slots, info = request.slots, request.info
        kind = backend.types[name]
        context = slots.get("context") or min(info.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
        fallback = bool(slots.get("cpu_fallback", self._cpu_fallback))
        test = slots.get("test", "quick")
        choices = (
            Choice(
                "model", _display(info.ref), f"{_parameters(info)}{info.architecture or 'unknown architecture'}", "user"
            ),
            Choice("method", backend.name, *self._why_method(request, backend)),
            Choice("type", name, why_type, from_type),
            Choice(
                "bits", kind.bits, f"{name} stores {kind.bits_per_weight:.2f} bits per weight", _said(request, "bits")
            ),
            Choice("device", device, why_device, _said(request, "device")),
            Choice("context", context, self._why_context(request), _said(request, "context")),
            Choice("cpu_fallback", fallback, self._why_fallback(fallback, device), _said(request, "cpu_fallback")),
            Choice("test", test, self._why_test(test), _said(request, "test")),
        )
        plan = self._draft(backend, request, name, identifier)
        return dataclasses.replace(
            plan,
            device=device,
            context=context,
            cpu_fallback=fallback,
            test=test,
            choices=choices,
            estimate=backend.estimate(info, plan, request.hardware).with_download(request.download_bytes),
        )

    def _draft(self, backend: Backend, request: Request, name: str, identifier: str) -> QuantizationPlan:
        slots, memory = request.slots, request.slots.get("memory_gb")
        return QuantizationPlan(
            id=identifier,
            model=request.info.ref,
            commit=request.info.commit,
            method=cast(Literal["gguf", "gptq", "bnb"], backend.name),
            bits=backend.types[name].bits,
            type=name,
            format=cast(Literal["gguf", "safetensors"], backend.output_format),
            device="cpu",
            memory_bytes=int(memory * GIB) if memory else None,
            priority=slots.get("priority"),
            calibration=slots.get("calibration"),
            keep_16bit=bool(slots.get("keep_16bit", self._keep_16bit)),
            allow_remote_code=bool(slots.get("allow_remote_code", False)),
        )

    def on_cpu(self, plan: QuantizationPlan, why: str) -> QuantizationPlan:
        """The same plan for the CPU, after the GPU ran out of memory."""
        others = tuple(c for c in plan.choices if c.name != "device")
        return dataclasses.replace(plan, device="cpu", choices=(*others, Choice("device", "cpu", why, "rules")))

    # ------------------------------------------------------------ single choices

    def _backend(self, request: Request) -> Backend:
        method = request.slots.get("method") or METHOD_OF_TYPE.get(request.slots.get("type", ""), "gguf")
        if request.slots.get("format") == "safetensors" and method == "gguf":
            raise NotBuilt("Only GGUF files can be made by this version, not safetensors.", "Say `in gguf format`.")
        if method not in self._backends:
            title, names = METHOD_TITLES.get(method, method), ", ".join(sorted(self._backends))
            raise NotBuilt(f"This version cannot quantize with {title} yet; it can make: {names}.", "Say `with gguf`.")
        backend = self._backends[method]
        self._check_type(backend, request.slots.get("type"))
        return backend

    def _check_type(self, backend: Backend, name: str | None) -> None:
        if name is None:
            return
        if name == "auto":
            raise NotBuilt("This version cannot choose the type of each tensor by itself yet.", "Say `Q4_K_M`.")
        if name not in backend.types:
            known = ", ".join(t.name for t in backend.types.values() if not t.needs_imatrix)
            raise UsageError(f"{backend.title} has no type {name}.", f"It has: {known}.")
        if backend.types[name].needs_imatrix:
            raise NotBuilt(
                f"{name} needs an importance matrix, without which it loses too much; this version has none yet.",
                f"Say `{backend.default_type(max(backend.types[name].bits, 2))}` instead.",
            )

    def _refuse_unusable(self, backend: Backend, request: Request) -> None:
        verdict = backend.available()
        if verdict.answer == "no":
            raise NotBuilt(verdict.reason, verdict.remedy)
        verdict = backend.check(request.info, request.hardware, request.slots.get("type"))
        if verdict.answer == "no":
            raise UnsupportedModel(verdict.reason, verdict.remedy)
        if request.info.weights_format == "none":
            raise ModelError(
                f"{_display(request.info.ref)} holds no weights.", "Name a repository with safetensors files."
            )

    def _type(self, backend: Backend, request: Request) -> tuple[str, str, Source]:
        slots = request.slots
        if "type" in request.advised:
            return slots["type"], self._recommend(backend, request, self._offered(backend, request))[1], "rules"
        if "bits" in request.advised:
            return slots["type"], "you named bits and a type that disagree; the type is the more exact", "rules"
        if name := slots.get("type"):
            return name, "your answer" if request.asked & {"type", "bits"} else "as you said", "user"
        if target := slots.get("target_size_gb"):
            return (*self._largest_within(backend, request, int(target * 1e9)), "rules")
        return (*self._recommend(backend, request, self._offered(backend, request)), "rules")

    def _offered(self, backend: Backend, request: Request) -> list[str]:
        """What to choose between, the usual one first; without those that fit this model only with a "but"."""
        bits = request.slots.get("bits")
        usable = [t for t in backend.types.values() if not t.needs_imatrix]
        if bits is None:
            names = [name for name in LADDER if name in backend.types] or [t.name for t in usable]
        else:
            first = backend.default_type(bits)
            names = [first, *(t.name for t in usable if t.bits == bits and t.name != first)]
        plain = [n for n in names if backend.check(request.info, request.hardware, n).answer == "yes"]
        return plain or names

    def _recommend(self, backend: Backend, request: Request, names: list[str]) -> tuple[str, str]:
        order, wish = self._order(backend, request, names)
        budget, whose = self._budget(request)
        fitting = [n for n in order if self._needs(backend, request, n) <= budget]
        if not fitting:
            smallest = min(names, key=lambda n: self._estimate(backend, request, n).size_bytes)
            return smallest, f"the smallest; even it may not fit {memory_size(budget)} {whose}"
        need = self._needs(backend, request, fitting[0])
        return fitting[0], f"{wish}; needs about {memory_size(need)} of {memory_size(budget)} {whose}"

    def _order(self, backend: Backend, request: Request, names: list[str]) -> tuple[list[str], str]:
        wish = request.slots.get("priority")
        table = {"quality": (BY_QUALITY, "you want the best quality"), "size": (BY_SIZE, "you want it small")}
        ladder, why = table.get(wish or "", (LADDER, "the usual balance of size and quality"))
        if request.slots.get("bits") is not None:
            return names, f"the recommended {request.slots['bits']}-bit type"
        known = [n for n in ladder if n in names]
        smaller = sorted((n for n in names if n not in known), key=lambda n: -_width(backend.types[n]))
        return known + smaller, why

    def _largest_within(self, backend: Backend, request: Request, target_bytes: int) -> tuple[str, str]:
        everything = [t.name for t in backend.types.values() if not t.needs_imatrix]
        names = self._offered(backend, request) if request.slots.get("bits") else everything
        sizes = {name: self._estimate(backend, request, name).size_bytes for name in names}
        fitting = [name for name in names if sizes[name] <= target_bytes]
        if not fitting:
            smallest = min(sizes, key=lambda n: sizes[n])
            raise UsageError(
                f"No type makes this model as small as {file_size(target_bytes)}; "
                f"the smallest, {smallest}, gives {file_size(sizes[smallest])}.",
                f"Say `at most {sizes[smallest] / 1e6 + 1:.0f} MB`, or take a smaller model.",
            )
        best = max(fitting, key=lambda n: sizes[n])
        return best, f"the largest within {file_size(target_bytes)}: {file_size(sizes[best])}"

    def _budget(self, request: Request) -> tuple[int, str]:
        if said := request.slots.get("memory_gb"):
            return int(said * GIB), "memory, as you said"
        if self._device(request)[0] == "gpu" and request.hardware.gpus:
            free = max(gpu.memory_free_bytes for gpu in request.hardware.gpus)
            return min(free, self._gpu_memory_limit_bytes), "GPU memory (gpu_memory_limit)"
        if request.slots.get("device") == "gpu":
            return self._gpu_memory_limit_bytes, "GPU memory (gpu_memory_limit)"
        return int(request.hardware.ram_available_bytes * RAM_SHARE), "usable memory"

    def _needs(self, backend: Backend, request: Request, name: str) -> int:
        context = request.slots.get("context") or DEFAULT_CONTEXT
        size = self._estimate(backend, request, name).size_bytes
        return size + kv_cache_bytes(request.info.config, context) + OVERHEAD_BYTES

    def _estimate(self, backend: Backend, request: Request, name: str) -> Estimate:
        return backend.estimate(request.info, self._draft(backend, request, name, ""), request.hardware)

    def _device(self, request: Request) -> tuple[Literal["cpu", "gpu"], str]:
        said = request.slots.get("device")
        if said == "gpu" and not request.hardware.gpus:
            return "cpu", "you said gpu, but there is none here"
        if said:
            return said, "as you said"
        if request.hardware.gpus:
            return "gpu", f"{request.hardware.gpus[0].name} is there"
        return "cpu", "there is no GPU here"

    # ------------------------------------------------------------ reasons

    def _why_method(self, request: Request, backend: Backend) -> tuple[str, Source]:
        if request.slots.get("method"):
            return "as you said", "user"
        if request.slots.get("type") and "type" not in request.asked:
            return f"{request.slots['type']} is a {backend.title} type", "rules"
        return f"{backend.title} runs on every machine, with or without a GPU", "rules"

    def _why_context(self, request: Request) -> str:
        limit = request.info.context_length
        said = request.slots.get("context")
        if said and limit and said > limit:
            return f"as you said, but the model was trained for {limit} tokens"
        return (
            "as you said"
            if said
            else f"a usual default; the model was trained for {limit or 'an unknown number of'} tokens"
        )

    def _why_fallback(self, fallback: bool, device: str) -> str:
        if device == "cpu":
            return "it runs on the CPU anyway"
        return "tried again on the CPU if the GPU runs out of memory" if fallback else "a full GPU ends the job"

    def _why_test(self, test: str) -> str:
        return {
            "none": "no receipt will be made",
            "quick": "speed, memory and loss, in at most two minutes or a fifth of the job's time",
            "comprehensive": "every window of the evaluation text",
        }[test]


def kv_cache_bytes(config: Mapping[str, Any], context: int, bytes_per_value: int = 2) -> int:
    """K and V for `context` tokens: 2 x layers x KV heads x head size x tokens x bytes per value."""
    text = config.get("text_config") or config
    layers = text.get("num_hidden_layers") or text.get("n_layer") or text.get("num_layers") or 0
    heads = text.get("num_attention_heads") or text.get("n_head") or text.get("num_heads") or 1
    width = text.get("hidden_size") or text.get("n_embd") or text.get("d_model") or 0
    kv_heads = text.get("num_key_value_heads") or heads
    head = text.get("head_dim") or width // heads
    return int(2 * layers * kv_heads * head * context * bytes_per_value)


def artifact_name(plan: QuantizationPlan) -> str:
    """`<org>_<model>_<method>_<bits>bit[_<TYPE>]`; nf4, int8 and GPTQ's type are left out, as the design says."""
    base = PurePath(plan.model.path or plan.model.id).name if plan.model.kind == "local" else plan.model.id
    shown = f"_{plan.type}" if plan.method == "gguf" or plan.type == "fp4" else ""
    return f"{base.replace('/', '_')}_{plan.method}_{plan.bits}bit{shown}"


def _display(ref: ModelRef) -> str:
    return f"{ref.id}@{ref.revision}" if ref.revision else ref.id


def _parameters(info: ModelInfo) -> str:
    if not info.parameters:
        return ""
    millions = info.parameters / 1e6
    return f"{millions / 1000:.1f} billion parameters, " if millions >= 1000 else f"{millions:.1f} million parameters, "


def _said(request: Request, name: str) -> Source:
    return "user" if request.slots.get(name) is not None and name not in request.advised else "rules"


def _width(kind: QuantType) -> float:
    return kind.bits_per_weight
