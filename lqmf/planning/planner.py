"""The Planner: turns a request into a complete plan, and asks only for values that are missing and matter.

Pure: knows the request, the model's metadata and needs, the machine and the backends' promises; reads no file, asks
nobody itself. `next_question` returns the question to ask; `plan` builds the plan, each field with its reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal, cast

from lqmf import workspace
from lqmf.declared import methods as declared
from lqmf.errors import DoesNotFit, ModelError, NotBuilt, UnsupportedModel, UsageError
from lqmf.fit import budget, mix, words
from lqmf.fit.fitting import Fitting
from lqmf.fit.needs import Needs
from lqmf.fit.solver import MOST, Machine, Solution, Wish
from lqmf.model_files.gguf_types import AUTO
from lqmf.planning import methods
from lqmf.planning import reasons as why
from lqmf.planning.recipe import Recipe, calibratable, choose_recipe, largest_neighbours
from lqmf.planning.request import PlanRequest
from lqmf.quantization.parameters import settled
from lqmf.quantization.promise import Backend
from lqmf.records import (
    Candidate,
    Choice,
    Estimate,
    Hardware,
    ModelInfo,
    Option,
    QuantizationPlan,
    Question,
    Request,
    Source,
)
from lqmf.units import GB, GIB, file_size, memory_size

LADDER = ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "Q3_K_M", "Q2_K")  # what most people choose between
OFFERED = 4  # types of the bits that were said
QUANTIZED_BITS = 8  # what has more is not quantized, and nobody is offered it unasked
SHORTEST_CONTEXT = 512
ELSEWHERE = "For a larger machine, say its memory: `--memory 24GB`."
START_QUESTION_BYTES = 1_000_000_000  # downloads above this are worth a question


class Planner:
    """The maker of plans. `backends` are those installed, the other arguments the values of settings that plans depend
    on."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        gpu_memory_limit_gb: float,
        cpu_fallback: bool = False,
        keep_16bit: bool = False,
    ) -> None:
        self._backends = backends
        self._gpu_memory_limit_bytes = int(gpu_memory_limit_gb * GIB)
        self._cpu_fallback = cpu_fallback
        self._keep_16bit = keep_16bit

    # ------------------------------------------------------------ what to ask

    def refuse(self, said: Request, info: ModelInfo, hardware: Hardware) -> Backend:
        """Return the backend that will do the job. Raises LqmfError for a request that cannot be done at all, whatever
        the memory."""
        backend = self._backend(said, info, hardware)
        verdict = backend.available()
        if verdict.answer == "no":
            raise NotBuilt(verdict.reason, verdict.remedy)
        verdict = backend.check(info, hardware, said.type)
        if verdict.answer == "no":
            raise UnsupportedModel(verdict.reason, verdict.remedy)
        if info.weights_format == "none":
            raise ModelError(f"{why.display(info.ref)} holds no weights.", "Name a repository with safetensors files.")
        return backend

    def next_question(self, request: PlanRequest) -> Question | None:
        """Return the next question that only the user can answer, or None. Raises LqmfError for a request that cannot
        be done at all."""
        backend, request = self._ready(request)
        for ask in (self._contradiction, self._fit_question, self._type_question, self._no_gpu, self._start_question):
            question = ask(backend, request)
            if question and question.id not in request.asked:
                return question
        return None

    def _contradiction(self, backend: Backend, request: PlanRequest) -> Question | None:
        bits, name = request.said.bits, request.said.type
        if bits is None or name in (None, AUTO) or backend.types[name].bits == bits:
            return None
        own = backend.types[name].bits
        options = [Option({"type": name, "bits": own}, f"{name}, which has {own} bits")]
        if bits in {t.bits for t in backend.types.values()}:
            other = backend.default_type(cast(int, bits))
            options.append(Option({"type": other, "bits": bits}, f"{bits} bits, as {other}"))
        return Question(
            id="bits",
            text=f"You said {bits}-bit and {name}, but {name} has {own} bits. Which do you mean?",
            options=tuple(options),
            default=options[0].value,
            reason=f"{name} is the more exact of the two.",
        )

    def _type_question(self, backend: Backend, request: PlanRequest) -> Question | None:
        said = request.said
        if said.type or said.target_size_gb or len(backend.types) < 2:
            return None
        solution = self._solve(backend, request)
        advised, context = _best(solution).type, _best(solution).run.context
        usual = LADDER if said.bits is None else self._nearest(backend, request, advised)
        makeable = request.fit.needs[backend.name].weights
        known = {name for name in self._types(backend, request) if name in makeable}
        names = dict.fromkeys([advised, *(c.type for c in solution.best), *usual])
        offered = [name for name in names if name in known][: OFFERED if said.bits is not None else None]
        if len(offered) < 2:
            return None
        return Question(
            id="type",
            text=f"Which {backend.title} type?",
            options=tuple(self._option(backend, request, name, context) for name in offered),
            default=advised,
            reason=why.of(request, solution),
        )

    def _nearest(self, backend: Backend, request: PlanRequest, advised: str) -> tuple[str, ...]:
        """Return the types with the bits that were said: the usual types first, then by the distance of their width to
        that of the advised type."""
        kinds, width = backend.types, backend.types[advised].bits_per_weight
        known = sorted(self._types(backend, request))
        return tuple(
            sorted(known, key=lambda name: (not kinds[name].general, abs(kinds[name].bits_per_weight - width)))
        )

    def _option(self, backend: Backend, request: PlanRequest, name: str, context: int) -> Option:
        named = dataclasses.replace(request, said=dataclasses.replace(request.said, type=name))
        wish = dataclasses.replace(self._wish(backend, named), types=frozenset({name}), context=context)
        solution = request.fit.solve(self._machine(request), wish)
        candidate = _best(solution)
        cache = "" if candidate.run.cache == "f16" else f" with a {candidate.run.cache} cache"
        misfit = "" if solution.recommended else ", which does not fit"
        need = f"runs in {words.memory(candidate.memory)}{cache}{misfit}"
        label = f"{name}: {file_size(candidate.file_bytes)}, {need}. {backend.types[name].summary}"
        return Option(name, label.strip())

    def _fit_question(self, backend: Backend, request: PlanRequest) -> Question | None:
        """Return the question for a wish that does not fit, with the wishes that would as answers. Raises DoesNotFit
        when none would."""
        solution = self._solve(backend, request)
        if solution.recommended or "fit" in request.asked:
            return None
        text = why.misfit(_best(solution), self._machine(request))
        others = self._alternatives(backend, request)
        if not others:
            raise DoesNotFit(text, " ".join([*solution.ways_out, ELSEWHERE]))
        anyway = Option({"fit": "anyway"}, "make it all the same, for a larger machine")
        return Question(
            id="fit",
            text=f"{text} What instead?",
            options=(*others, anyway),
            default=others[0].value,
            reason=" ".join(solution.ways_out) or ELSEWHERE,
        )

    def _alternatives(self, backend: Backend, request: PlanRequest) -> list[Option]:
        """Return options that fit when one part of the request is given up: the type, the cache, or the length of the
        context."""
        said, machine, wish = request.said, self._machine(request), self._wish(backend, request)
        found = []
        if said.type or said.bits or self._is_usual(backend, request):
            free = dataclasses.replace(said, type=None, bits=None)
            wider = self._types(backend, dataclasses.replace(request, said=free))
            if other := request.fit.solve(machine, dataclasses.replace(wish, types=wider)).recommended:
                found.append(_instead("type", other, other.type, type=other.type, bits=other.bits))
        if wish.cache and (other := request.fit.solve(machine, dataclasses.replace(wish, cache=None)).recommended):
            found.append(_instead("kv_type", other, f"a KV cache in {other.run.cache}", kv_type=other.run.cache))
        for context in _shorter(wish.context):
            if other := request.fit.solve(machine, dataclasses.replace(wish, context=context)).recommended:
                found.append(_instead("context", other, f"{context} tokens of context", context=context))
                break
        return found

    def _no_gpu(self, backend: Backend, request: PlanRequest) -> Question | None:
        wants_gpu = request.said.device == "gpu" and not request.hardware.gpus
        if not wants_gpu or request.said.cpu_fallback is not None or self._cpu_fallback:
            return None
        return Question(
            id="cpu_fallback",
            text="There is no GPU here. Make and measure it on the CPU instead?",
            options=(Option(True, "yes, on the CPU"), Option(False, "no")),
            default=True,
            reason=f"A {backend.title} file runs on a GPU elsewhere all the same; only the measured speed differs.",
        )

    def _start_question(self, backend: Backend, request: PlanRequest) -> Question | None:
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

    def plan(self, request: PlanRequest, identifier: str) -> QuantizationPlan:
        """Build the complete plan; values that are still open take their recommended value. Raises LqmfError."""
        backend, request = self._ready(request)
        solution = self._solve(backend, request)
        chosen = _best(solution)
        device = self._device(request)[0]
        made = self._recipe(backend, request, chosen)
        draft = dataclasses.replace(
            self._draft(backend, request, chosen, identifier),
            device=device,
            context=chosen.run.context,
            cpu_fallback=_unless_said(request.said.cpu_fallback, self._cpu_fallback),
            test=request.said.test or "quick",
            imatrix=made.imatrix.value,
            base=made.base,
            run=chosen.run,
            candidates=solution.best,
            others=self._others(backend, request, chosen),
            misfit=why.stand_ins(backend.types[chosen.type], backend.types, request.fit.needs[backend.name]),
        )
        expected = request.fit.prediction(chosen, on_gpu=device == "gpu")
        estimate = self._estimate(backend, request, draft)
        if estimate.seconds is not None:
            expected["quantize_seconds"] = estimate.seconds
        learnt = request.fit.corrected(expected, backend.name, device)
        return dataclasses.replace(
            draft,
            choices=self._choices(backend, request, draft, solution, made),
            estimate=dataclasses.replace(estimate, seconds=learnt.get("quantize_seconds")),
            prediction=learnt,
            uncorrected=expected,
        )

    def _others(self, backend: Backend, request: PlanRequest, chosen: Candidate) -> tuple[Candidate, ...]:
        """Return the usual types that fit too, at the same context, whatever type was said; without the chosen type."""
        free = dataclasses.replace(request, said=dataclasses.replace(request.said, type=None, bits=None), advice=None)
        usual = LADDER if backend.streams else tuple(t.name for t in backend.types.values() if t.general)
        known = set(request.fit.needs[backend.name].weights) - {chosen.type}
        wish = dataclasses.replace(self._wish(backend, free), context=chosen.run.context)
        found = (
            request.fit.solve(self._machine(request), dataclasses.replace(wish, types=frozenset({name}))).recommended
            for name in usual
            if name in known and self._answer(backend, request, name) != "no"
        )
        return tuple(one for one in found if one is not None)

    def _estimate(self, backend: Backend, request: PlanRequest, plan: QuantizationPlan) -> Estimate:
        needs = request.fit.needs[backend.name]
        estimate = backend.estimate(request.info, plan, request.hardware, needs)
        kept = largest_neighbours(request.info) if plan.discard_source else None
        return estimate.with_download(request.download_bytes, kept)

    def solution(self, request: PlanRequest) -> Solution:
        """Return the solver's solution for the request, with all candidates to choose between. Raises LqmfError."""
        return self._solve(*self._ready(request))

    def _ready(self, request: PlanRequest) -> tuple[Backend, PlanRequest]:
        """Return (the backend, the request), with the mix that was asked for among the types to choose from. Raises
        LqmfError."""
        backend = self.refuse(request.said, request.info, request.hardware)
        if request.said.type != AUTO:
            return backend, request
        fit = mix.with_mix(request.fit, backend.name, self._mix_bytes(backend, request))
        return backend, dataclasses.replace(request, fit=fit)

    def _mix_bytes(self, backend: Backend, request: PlanRequest) -> int:
        """Return the size in bytes that a mix is made for: the size that was said, or that of the preset that would be
        chosen without a mix."""
        said, needs = request.said, request.fit.needs[backend.name]
        if size := said.target_size_gb:
            return int(size * GB)
        if (bits := said.bits) is not None and bits != int(bits):
            return mix.target_bytes(needs, bits)
        preset = backend.default_type(cast(int, bits)) if bits is not None else None
        free = dataclasses.replace(said, type=preset, bits=None)
        return _best(self._solve(backend, dataclasses.replace(request, said=free))).file_bytes

    def _recipe(self, backend: Backend, request: PlanRequest, chosen: Candidate) -> Recipe:
        needs = request.fit.needs[backend.name] if backend.streams else None
        keep = _unless_said(request.said.keep_16bit, self._keep_16bit)
        test = request.said.test or "quick"
        return choose_recipe(request, backend.types[chosen.type], needs, test=test, keep_16bit=keep)

    def general(self, said: Request, hardware: Hardware, fit: Fitting) -> Solution:
        """Return the solver's solution for a model that nobody named; `fit` stands for models of its size."""
        types = frozenset({said.type}) if said.type else None
        longest = next(iter(fit.needs.values())).trained_context
        return fit.solve(self._there(said, hardware, fit), budget.wish(said, longest, types))

    def assumed(self, said: Request, hardware: Hardware) -> str:
        """Return the memory that answers for models in general assume, in words."""
        machine = budget.machine(said, hardware, gpu_limit_bytes=self._gpu_memory_limit_bytes, program_ram=0)
        return f"{machine.gpu_reason}, and {machine.ram_reason}" if machine.gpu_bytes else machine.ram_reason

    def _choices(
        self, backend: Backend, request: PlanRequest, plan: QuantizationPlan, solution: Solution, made: Recipe
    ) -> tuple[Choice, ...]:
        chosen = _best(solution)
        kind = backend.types[chosen.type]
        size = f"{why.parameters(request.info)}{request.info.architecture or 'unknown architecture'}"
        fallback = why.fallback(plan.cpu_fallback, plan.device)
        width = plan.misfit or f"{kind.name} stores {self._width(backend, request, chosen):.2f} bits per weight"
        return (
            Choice("model", why.display(request.info.ref), size, "user"),
            Choice("method", backend.name, *self._why_method(request)),
            Choice("type", kind.name, *self._why_type(backend, request, solution)),
            Choice("bits", plan.bits, width, why.whose(request, "bits")),
            Choice("device", plan.device, *self._device(request)[1:]),
            Choice("context", chosen.run.context, why.context(request, chosen), why.whose(request, "context")),
            Choice("kv_cache", chosen.run.cache, why.cache(request, chosen), why.whose(request, "kv_type")),
            Choice("memory", memory_size(chosen.memory.total), self._why_memory(request, solution), "rules"),
            *self._where(request, chosen),
            *why.priority(request),
            *(made.choices if backend.streams else ()),
            *why.parameters_of(request, backend, plan),
            Choice("cpu_fallback", plan.cpu_fallback, fallback, why.whose(request, "cpu_fallback")),
            Choice("test", plan.test, why.test(plan.test), why.whose(request, "test")),
        )

    def _where(self, request: PlanRequest, chosen: Candidate) -> list[Choice]:
        """Return the choices that only some plans have: layers on a GPU, several chats at once."""
        found = []
        if self._machine(request).gpu_bytes:
            layers = request.fit.needs[chosen.method].layers + 1
            share = "all of them" if chosen.run.gpu_layers >= layers else f"of {layers}; the rest runs from RAM"
            found.append(Choice("gpu_layers", chosen.run.gpu_layers, f"{share}: {words.memory(chosen.memory)}"))
        if chosen.run.parallel > 1:
            found.append(Choice("parallel", chosen.run.parallel, "chats at once, as you said", "user"))
        return found

    def _width(self, backend: Backend, request: PlanRequest, chosen: Candidate) -> float:
        """Return the bits per weight: a type's own, or of a mix those that its size implies."""
        if chosen.type == AUTO:
            return mix.bits_per_weight(request.fit.needs[backend.name], chosen.file_bytes)
        return backend.types[chosen.type].bits_per_weight

    def _draft(self, backend: Backend, request: PlanRequest, chosen: Candidate, identifier: str) -> QuantizationPlan:
        said, memory, mixed = request.said, request.said.memory_gb, chosen.type == AUTO
        kind = backend.types[chosen.type]
        return QuantizationPlan(
            id=identifier,
            model=request.info.ref,
            commit=request.info.commit,
            method=backend.name,
            bits=int(said.bits or self._width(backend, request, chosen)) if mixed else kind.bits,
            type="" if kind.name == f"{kind.bits}bit" else kind.name,
            target_bytes=chosen.file_bytes if mixed else None,
            keep=tuple(said.keep or ()),
            discard_source=bool(said.discard_source),
            adapter=said.adapter,
            format=backend.output_format,
            device="cpu",
            memory_bytes=int(memory * GIB) if memory else None,
            priority=said.priority or request.provided.get("priority"),
            calibration=said.calibration,
            parameters=settled(
                backend.parameters,
                {**request.fit.needs[backend.name].settings, **(said.parameters or {})},
                kind.name,
                title=backend.title,
            ),
            keep_16bit=backend.streams and _unless_said(said.keep_16bit, self._keep_16bit),
            allow_remote_code=bool(said.allow_remote_code),
        )

    def on_cpu(self, plan: QuantizationPlan, why: str) -> QuantizationPlan:
        """Return the plan changed for the CPU, after the GPU ran out of memory; without predictions, since none were
        computed for the CPU."""
        others = tuple(c for c in plan.choices if c.name not in ("device", "gpu_layers", "memory"))
        run = dataclasses.replace(plan.run, gpu_layers=0) if plan.run else None
        choices = (*others, Choice("device", "cpu", why, "rules"))
        return dataclasses.replace(plan, device="cpu", choices=choices, run=run, prediction={})

    # ------------------------------------------------------------ single choices

    def _backend(self, said: Request, info: ModelInfo, hardware: Hardware) -> Backend:
        method = methods.choose(said, info, hardware, self._backends).name
        if method not in self._backends:
            names = ", ".join(sorted(self._backends))
            raise NotBuilt(f"Nothing here quantizes with '{method}'; there are: {names}.", "Say `with gguf`.")
        backend = self._backends[method]
        self._check_type(backend, said.type)
        return backend

    def method_question(self, said: Request) -> Question | None:
        """Return the first question of all, where the method that the user said is not installed; else None."""
        return methods.question(said, self._backends)

    def _why_method(self, request: PlanRequest) -> tuple[str, Source]:
        if "method" in request.asked:
            return "your answer", "user"
        said = dataclasses.replace(request.said, type=None) if "type" in request.asked else request.said
        chosen = methods.choose(said, request.info, request.hardware, self._backends)
        return chosen.reason, chosen.source

    def _why_type(self, backend: Backend, request: PlanRequest, solution: Solution) -> tuple[str, Source]:
        if request.takes("type"):
            return why.type(request, solution)
        if self._is_usual(backend, request) and request.said.type is None:
            return f"what {backend.title} is mostly made with", "rules"
        if not backend.streams and request.said.type is None and (bits := request.said.bits) is not None:
            return f"{backend.title}'s type of {bits} bits", "rules"
        return why.type(request, solution)

    def _is_usual(self, backend: Backend, request: PlanRequest) -> bool:
        """Return whether the method has one width that is taken by default, and nothing in the request decides
        otherwise."""
        open_ = ("type", "bits", "target_size_gb", "priority")
        return not backend.streams and all(getattr(request.said, name) is None for name in open_)

    def _check_type(self, backend: Backend, name: str | None) -> None:
        if name is None:
            return
        if name not in backend.types:
            known = ", ".join(t.name for t in backend.types.values())
            raise UsageError(f"{backend.title} has no type {name}.", f"It has: {known}.")

    def _types(self, backend: Backend, request: PlanRequest) -> frozenset[str]:
        """Return the types to choose from: the type that was said, the types of the bits that were said, else all types
        that quantize any model. A type whose blocks do not fit the model's rows is among them: it is weighed by its
        real size."""
        said = request.said
        if name := said.type:
            return frozenset({name})
        if self._is_usual(backend, request):
            return frozenset({methods.usual_type(backend)})
        return self._makeable(backend, request)

    def _makeable(self, backend: Backend, request: PlanRequest) -> frozenset[str]:
        """Return the types of the bits that were said, or else all that quantize any model, which can be made here."""
        guided = calibratable(request, request.fit.needs[backend.name] if backend.streams else None)
        usable = {t.name for t in backend.types.values() if t.name != AUTO and (guided or not t.needs_imatrix)}
        if (bits := request.said.bits) is not None:
            names = {n for n in usable if backend.types[n].bits == bits} | {backend.default_type(cast(int, bits))}
        else:
            names = {n for n in usable if backend.types[n].bits <= QUANTIZED_BITS}
        can = {name for name in names if self._answer(backend, request, name) != "no"}
        return frozenset({name for name in can if backend.types[name].general} or can or names)

    def _answer(self, backend: Backend, request: PlanRequest, name: str) -> str:
        info, hardware = request.info, request.hardware
        return request.fit.verdict(backend.name, name, lambda: backend.check(info, hardware, name)).answer

    def _wish(self, backend: Backend, request: PlanRequest) -> Wish:
        """Return the wish: the user's own values, and for open values those of the advice."""
        filled = dataclasses.replace(request, said=dataclasses.replace(request.said, **request.provided))
        free = dataclasses.replace(request, said=dataclasses.replace(request.said, type=None, bits=None))
        wish = budget.wish(filled.said, request.info.context_length, self._types(backend, filled))
        return dataclasses.replace(wish, makeable=self._makeable(backend, free))

    def _machine(self, request: PlanRequest) -> Machine:
        return self._there(request.said, request.hardware, request.fit)

    def _there(self, said: Request, hardware: Hardware, fit: Fitting) -> Machine:
        limit = self._gpu_memory_limit_bytes
        return budget.machine(said, hardware, gpu_limit_bytes=limit, program_ram=fit.program_ram)

    def _solve(self, backend: Backend, request: PlanRequest) -> Solution:
        """Return the solution. Raises UsageError when no type makes a file as small as wished or the model has no such
        cache, UnsupportedModel when no type fits the model."""
        return self._advised(backend, request) if request.follows else self._ruled(backend, request)

    def _advised(self, backend: Backend, request: PlanRequest) -> Solution:
        """Return the solution that the advice leads to, with the rules' own best beside it; that of the rules alone
        where the advice does not fit."""
        taken: dict[str, Any] = {name: None for name in request.said.slots() if request.takes(name)}
        kept = dataclasses.replace(request.said, **taken)
        own = self._ruled(backend, dataclasses.replace(request, said=kept, advised=frozenset(), advice=None))
        advised = self._ruled(backend, request)
        chosen = advised.recommended
        if chosen is None or request.advice is None:
            return own
        best = (chosen, *(one for one in own.best if one.id != chosen.id))[:MOST]
        told = (request.advice.reason,) if request.takes("type") and request.advice.reason else advised.why
        return dataclasses.replace(own, recommended=chosen, why=told, best=best, ways_out=advised.ways_out)

    def _ruled(self, backend: Backend, request: PlanRequest) -> Solution:
        if "type" in request.advised:  # the rules' own advice, taken: then all the rest was to choose from too
            free = dataclasses.replace(request.said, type=None)
            solution = self._ruled(backend, dataclasses.replace(request, said=free, advised=frozenset()))
            if _best(solution).type == request.said.type:
                return solution
        wish = self._wish(backend, request)
        solution = request.fit.solve(self._machine(request), wish)
        if solution.least is None and wish.cache and not _keeps(request.fit.needs[backend.name], *wish.cache):
            name = request.said.kv_type
            raise UsageError(f"{backend.title} has no cache in {name} for this model.", "Say `--kv-type f16`.")
        if solution.least is None and wish.file_bytes:
            raise self._too_large(backend, request, wish.file_bytes)
        if solution.least is None:
            raise UnsupportedModel("No type of this method fits this model's tensors.", "Choose another type or model.")
        return solution

    def _too_large(self, backend: Backend, request: PlanRequest, target_bytes: int) -> UsageError:
        weights = request.fit.needs[backend.name].weights
        sizes = {name: weights[name].file_bytes for name in self._types(backend, request) if name in weights}
        smallest = min(sizes, key=lambda name: sizes[name])
        return UsageError(
            f"No type makes this model as small as {file_size(target_bytes)}; "
            f"the smallest, {smallest}, gives {file_size(sizes[smallest])}.",
            f"Say `at most {sizes[smallest] / 1e6 + 1:.0f} MB`, or take a smaller model.",
        )

    def _device(self, request: PlanRequest) -> tuple[Literal["cpu", "gpu"], str, Source]:
        """Return (device, reason, source): where the artifact is made and measured, why, and whose choice that is."""
        said = request.said.device
        if said == "gpu" and not request.hardware.gpus:
            return "cpu", "made and measured here, where there is no GPU; planned for one", "rules"
        if said:
            return said, "as you said", why.whose(request, "device")
        if request.hardware.gpus:
            return "gpu", f"{request.hardware.gpus[0].name} is there", "rules"
        return "cpu", "there is no GPU here", "rules"

    def _why_memory(self, request: PlanRequest, solution: Solution) -> str:
        if solution.recommended is None:
            return why.misfit(_best(solution), self._machine(request))
        return solution.why[-1]


def _unless_said(said: bool | None, default: bool) -> bool:
    return default if said is None else said


def _best(solution: Solution) -> Candidate:
    """Return the recommended candidate, or where none fits the candidate that needs least memory."""
    chosen = solution.recommended or solution.least
    assert chosen is not None, "an empty solution was refused before"
    return chosen


def _instead(name: str, fitting: Candidate, label: str, **slots: Any) -> Option:
    """Return the option of giving up the slot `name`; the answer's `fit` names that slot."""
    return Option({**slots, "fit": name}, f"{label}: {words.memory(fitting.memory)}")


def _shorter(context: int | None) -> list[int]:
    """Return contexts below `context`, halved again and again, in tokens."""
    lengths = []
    while context and context // 2 >= SHORTEST_CONTEXT:
        context //= 2
        lengths.append(context)
    return lengths


def artifact_name(plan: QuantizationPlan) -> str:
    """Return the artifact's name, `<org>_<model>_<method>_<bits>bit[_<TYPE>]`; the type is left out where it is the
    first of its method with these bits (nf4, int8, GPTQ's), but never for a GGUF."""
    base = PurePath(plan.model.path or plan.model.id).name if plan.model.kind == "local" else plan.model.id
    usual = next((kind.name for kind in declared.of(plan.method).types if kind.bits == plan.bits), "")
    shown = f"_{plan.type}" if plan.type not in ("", usual) else ""
    return f"{workspace.safe_name(base, workspace.LONGEST_MODEL)}_{plan.method}_{plan.bits}bit{shown}"


def _keeps(needs: Needs, k_type: str, v_type: str) -> bool:
    """Return whether the model can have a cache of these types."""
    return {k_type, v_type} <= set(needs.cache_types) and (k_type == v_type or needs.mixed_cache)
