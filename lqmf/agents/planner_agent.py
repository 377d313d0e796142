"""From a sentence to plans: which model, what it needs, what to ask, and whether it can be done at all.

The planner decides; this agent asks the planner's questions and gathers the facts that it decides by. Fetches metadata,
never weights; carries nothing out.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lqmf.errors import (
    DiskFull,
    DoesNotFit,
    GatedModel,
    JobCancelled,
    LqmfError,
    NeedsInput,
    OutOfMemory,
    TransferError,
    Unauthorized,
    UnsupportedModel,
)
from lqmf.fit.needs import Needs
from lqmf.hub.models import Models
from lqmf.jobs.journal import new_id
from lqmf.model_files import config_check, describe
from lqmf.model_files.template_check import Template, template_verdict
from lqmf.planning import preflight
from lqmf.planning.compatibility import compatibility
from lqmf.planning.methods import spelled
from lqmf.planning.planner import Planner
from lqmf.planning.preflight import Facts, Finding, Preflight, Tokenizer
from lqmf.planning.request import PlanRequest
from lqmf.planning.taking import keep_to, with_suggestions
from lqmf.quantization.gguf.needs import tokenizer as header_tokenizer
from lqmf.records import (
    Advice,
    Decision,
    Hardware,
    ModelInfo,
    ModelRef,
    Option,
    QuantizationPlan,
    Question,
    Request,
    Suggestion,
    Utterance,
)
from lqmf.understanding.answers import Ask, Reply
from lqmf.units import GB, parse_file_size

if TYPE_CHECKING:
    from lqmf.advice.adviser import Adviser
    from lqmf.fit.classes import SizeClass
    from lqmf.fit.fitting import Fitting
    from lqmf.fit.solver import Solution
    from lqmf.hub.published import PublishedGguf
    from lqmf.planning.gather import Gatherer
    from lqmf.quantization.parameters import Parameter
    from lqmf.quantization.promise import Backend

Announce = Callable[[Sequence["Planned"]], None]
READABLE = ("open", "granted")
DOOMED = {"disk": DiskFull, "memory": OutOfMemory, "tokenizer": UnsupportedModel}  # by the finding that says so


@dataclass(frozen=True)
class Planned:
    """A plan, the metadata that it was made from, the planner's request, and the solution with all candidates."""

    plan: QuantizationPlan
    info: ModelInfo
    request: PlanRequest
    solution: Solution


class _AnotherModel(Exception):
    """The user named another model while the plan was made: its metadata is needed first."""

    def __init__(self, said: Request) -> None:
        super().__init__()
        self.said = said


class Listener(Protocol):
    """The reader of the user's lines; `lines` are those of the dialogue so far."""

    @property
    def lines(self) -> Sequence[str]: ...

    def decide(self, utterance: Utterance) -> Decision:
        """Return the decision for a line."""
        ...


class PlannerAgent:
    """Plans and preflights of one workspace, whose artifacts lie in `place`; `remember` keeps a model's metadata;
    `load` tells how busy other programs keep the machine now (`lqmf.hardware.load`)."""

    def __init__(
        self,
        place: Path,
        models: Models,
        hardware: Callable[[], Hardware],
        backends: Mapping[str, Backend],
        understanding: Listener,
        planner: Planner,
        remember: Callable[[ModelInfo], None],
        fit: Gatherer,
        adviser: Adviser | None = None,
        load: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._place = place
        self._models = models
        self._hardware = hardware
        self._backends = backends
        self._understanding = understanding
        self._planner = planner
        self._remember = remember
        self._fit = fit
        self._adviser = adviser
        self._load = load
        self.on_cpu = planner.on_cpu

    # ------------------------------------------------------------ plan

    async def plan(self, request: Request, ask: Ask, announce: Announce | None = None) -> list[Planned]:
        """Return the plans for a request, every open question answered. Raises LqmfError.

        Where a provider is asked for advice, `announce` is called with the rules' own plan before.
        """
        said = await self._with_model(request, ask)
        while True:
            info = await self.inspect(self._models.resolve(str(said.model)), ask)
            self._remember(info)
            wishes = _each_type(said)
            first = announce if len(wishes) == 1 else None  # who lists types has chosen
            try:
                return [await self._plan_one(one, info, request.intent, ask, first) for one in wishes]
            except _AnotherModel as change:
                said = change.said

    async def _with_model(self, said: Request, ask: Ask) -> Request:
        if said.model:
            return said
        question = Question(
            id="model",
            text="Which model? A Hub id (org/name), a folder (./model), a familiar name, or demo.",
            reason="Everything else depends on it.",
        )
        if self._adviser is not None:
            question = with_suggestions(question, await self.suggestions(said))
        return dataclasses.replace(said, model=accepted(await ask(question)))

    async def _plan_one(
        self, said: Request, info: ModelInfo, intent: str, ask: Ask, announce: Announce | None
    ) -> Planned:
        history: list[PlanRequest] = []
        request = await self._request(await self._with_method(_findable(said), ask), info, intent)
        if announce is not None and self._adviser is not None:
            request = await self._advised(request, self._adviser, announce)
        while question := self._planner.next_question(request):
            reply = await ask(question)
            if reply.kind == "back":
                request = history.pop() if history else request
                continue
            history.append(request)
            if reply.kind == "other":
                request = self._corrected(request, str(reply.value), intent)
            else:
                request = _answered(request, question, accepted(reply))
            fit = await self._fitting(_with_context(request.said, request.provided), info, request.hardware)
            request = dataclasses.replace(request, fit=fit)
        planned = self._planned(request)
        load = await asyncio.to_thread(self._load)
        planned = dataclasses.replace(planned, plan=_beside(planned.plan, load))
        backend = self._backends[planned.plan.method]
        await asyncio.to_thread(backend.vet, planned.plan, request.info, request.fit.folder)
        return planned

    async def _advised(self, request: PlanRequest, adviser: Adviser, announce: Announce) -> PlanRequest:
        """Return the request with a provider's advice, as far as it leads to a plan that fits. The rules' plan is
        announced before; where the rules have none, no provider is asked."""
        try:
            own = self._planned(request)
        except LqmfError:  # what stands against a plan is asked about, or told, next
            return request
        if own.solution.recommended is None:
            return request
        announce([own])
        advice = await adviser.on_plan(request, own.plan, own.solution, self._understanding.lines)
        if advice is None:
            return request
        advised = await self._following(request, advice)
        announce([self._planned(advised)])
        return advised

    async def _following(self, request: PlanRequest, advice: Advice) -> PlanRequest:
        """Return the request with `advice` taken in; where it leads to no plan that fits, the request only names it."""
        if not advice.slots:
            return dataclasses.replace(request, advice=advice)
        try:
            said = _with_context(request.said, advice.slots)
            fit = await self._fitting(said, request.info, request.hardware)
            taken = dataclasses.replace(request, fit=fit, advice=advice)
            keep_to(taken, self._planner)
        except LqmfError as error:
            left_out = dataclasses.replace(advice, slots={}, dropped=(f"It was left out: {error.message}",))
            return dataclasses.replace(request, advice=left_out)
        return taken

    async def suggestions(self, said: Request) -> tuple[Suggestion, ...]:
        """Return models of the Hub that a provider names for the wish; empty where no provider is set or answers."""
        if self._adviser is None:
            return ()
        sizes = await asyncio.to_thread(self._classes, said)
        return await self._adviser.on_models(said, self._hardware(), sizes, self._understanding.lines)

    async def _with_method(self, said: Request, ask: Ask) -> Request:
        """Return the request with a method that is installed: where the method of the user is not, the installed ones
        are offered. Where nobody can be asked the request stays as it is, and the planner says what to install."""
        question = self._planner.method_question(said)
        if question is None:
            return said
        try:
            return dataclasses.replace(said, method=accepted(await ask(question)), type=None)
        except NeedsInput:
            return said

    def _planned(self, request: PlanRequest) -> Planned:
        plan = self._planner.plan(request, new_id())
        return Planned(plan, request.info, request, self._planner.solution(request))

    async def _request(self, said: Request, info: ModelInfo, intent: str) -> PlanRequest:
        """Return the request that the planner starts from. Only a job asks what to do when the wish does not fit; a
        plan just says so."""
        hardware = self._hardware()
        fit = await self._fitting(said, info, hardware)
        asked = frozenset[str]() if intent == "quantize" else frozenset({"fit"})
        info = await asyncio.to_thread(describe.counted, info, fit.folder)
        return PlanRequest(said, info, hardware, fit, asked, download_bytes=self._models.missing(info))

    async def _fitting(self, said: Request, info: ModelInfo, hardware: Hardware) -> Fitting:
        """Return the needs of the model for the context and the chats of the request. Raises LqmfError for a request
        that cannot be met."""
        backend = self._planner.refuse(said, info, hardware)
        return await self._fit(info, backend, said.context, said.parallel or 1)

    def _corrected(self, request: PlanRequest, line: str, intent: str) -> PlanRequest:
        """Return the request as changed by a line that is no answer, like "no, 8 bits". Raises _AnotherModel."""
        decision = self._understanding.decide(Utterance(line))
        if decision.intent != intent:
            return request
        new = decision.request.slots()
        changed = {name for name, value in new.items() if getattr(request.said, name) != value}
        said = dataclasses.replace(request.said, **new)
        if changed & {"bits", "method"} and "type" not in new:
            changed.add("type")
            said = dataclasses.replace(said, type=None)
        if "model" in changed:
            raise _AnotherModel(said)
        if not changed:
            return dataclasses.replace(request, said=said)
        again = changed | {"fit"}  # and the advice was for another wish
        return dataclasses.replace(
            request,
            said=dataclasses.replace(said, fit=None),
            asked=request.asked - again,
            advised=request.advised - again,
            advice=None,
        )

    def classes(self, request: Request) -> dict[SizeClass, Solution]:
        """Return the solution for each size of model on the machine that the request describes, when it names no model.
        Raises LqmfError."""
        return self._classes(request)

    def _classes(self, wished: Request) -> dict[SizeClass, Solution]:
        said = _findable(wished)
        asked = size_asked(wished)
        fits = self._fit.general(self._backends["gguf"], said.context, said.parallel or 1, asked)
        hardware = self._hardware()
        return {size: self._planner.general(said, hardware, fit) for size, fit in fits.items()}

    def assumed(self, wished: Request) -> str:
        """Return the memory that `classes` assumes for a request, in words."""
        return self._planner.assumed(_findable(wished), self._hardware())

    def streams(self, plan: QuantizationPlan) -> bool:
        """Return whether work on `plan` begins before all weights are there."""
        return self._backends[plan.method].streams

    def parameters(self, method: str) -> Mapping[str, Parameter] | None:
        """Return the settings that only this method has, by name; None for a method that is not installed here."""
        backend = self._backends.get(method)
        return backend.parameters if backend else None

    # ------------------------------------------------------------ metadata

    async def inspect(self, ref: ModelRef, ask: Ask) -> ModelInfo:
        """Return the model's metadata; for a model without access, offer to log in, and try again. Raises LqmfError."""
        try:
            info = await self._described(ref)
            if info.access in READABLE:
                return info
            closed: LqmfError = GatedModel(
                f"{ref.id} is {info.access}, and no token with access is here.",
                f"Accept its licence at https://huggingface.co/{ref.id}, then `lqmf hf login`.",
            )
        except (GatedModel, Unauthorized) as error:
            closed = error
        await self._log_in(closed, ask)
        return await self._described(ref)

    async def _described(self, ref: ModelRef) -> ModelInfo:
        """Return the model's metadata. Raises UnsupportedModel for a configuration that no model can have."""
        info = await self._models.inspect(ref)
        config_check.refuse(info.config)
        return info

    async def pinned(self, plan: QuantizationPlan, ask: Ask) -> ModelInfo:
        """Return the metadata of a plan's model at the commit that the plan was made for. Raises LqmfError."""
        pinned = dataclasses.replace(plan.model, revision=plan.commit or plan.model.revision)
        return dataclasses.replace(await self.inspect(pinned, ask), ref=plan.model)

    async def _log_in(self, closed: LqmfError, ask: Ask) -> None:
        text = f"{closed.message} Paste a Hugging Face token to log in (shown as stars):"
        try:
            reply = await ask(Question(id="hf_token", text=text, kind="secret", reason=closed.remedy))
        except NeedsInput:
            raise closed from None
        if reply.kind != "value" or not reply.value:
            raise closed
        await asyncio.to_thread(self._models.login, str(reply.value))

    # ------------------------------------------------------------ preflight

    async def preflight(self, request: Request, ask: Ask) -> Preflight:
        """Return the findings on a model before a byte of its weights is fetched. Raises LqmfError for a model that
        cannot be found."""
        said = _each_type(await self._with_model(request, ask))[0]
        info = await self._described(self._models.resolve(str(said.model)))
        asked = asyncio.ensure_future(self._published(info.ref))
        try:
            facts, error = await self._looked_at(info, said)
            published = await asked
        finally:
            asked.cancel()
        return preflight.examine(dataclasses.replace(facts, published=published, fit_error=error))

    async def _looked_at(self, info: ModelInfo, said: Request) -> tuple[Facts, LqmfError | None]:
        """Return the facts, and the error that kept a plan from being made (None where there is none)."""
        planned: Planned | None = None
        error: LqmfError | None = None
        if info.access in READABLE:
            self._remember(info)
            try:
                planned = self._planned(await self._request(_findable(said), info, "preflight"))
            except LqmfError as refused:
                error = refused
        counted = planned.info if planned else info
        return await asyncio.to_thread(self._facts, counted, planned, said.type), error

    async def refuse_doomed(self, planned: Planned, ask: Ask) -> None:
        """Ask before a job that cannot succeed. Raises the error that the job would end with, where the answer is
        no."""
        facts = await asyncio.to_thread(self._facts, planned.info, planned, None)
        for finding in preflight.examine(facts).findings:
            if finding.answer == "no" and finding.name != "fit" and not accepted(await ask(_doomed(finding))):
                raise DOOMED.get(finding.name, DoesNotFit)(
                    f"{finding.name}: {finding.detail.rstrip('.')}.", finding.remedy
                )

    def _facts(self, info: ModelInfo, planned: Planned | None, type: str | None) -> Facts:
        hardware = planned.request.hardware if planned else self._hardware()
        fit = planned.request.fit if planned else None
        needs = fit.needs[planned.plan.method] if planned and fit else None
        rows = compatibility(
            self._backends,
            info,
            hardware,
            type=planned.plan.type if planned else type,
            skeleton=fit.folder if fit else None,
        )
        return Facts(
            info=info,
            hardware=hardware,
            tokenizer=_tokenizer(info, needs),
            template=template_verdict(fit.folder) if fit else _unread_template(info),
            verdicts={row.method: row.verdict for row in rows},
            download_bytes=self._models.missing(info),
            disk_free_bytes=_free(self._place),
            place=self._place,
            present=self._models.present(info),
            plan=planned.plan if planned else None,
            solution=planned.solution if planned else None,
        )

    async def _published(self, ref: ModelRef) -> tuple[PublishedGguf, ...] | None:
        if ref.kind != "hub":
            return ()
        try:
            return await self._models.published(ref.id)
        except TransferError:
            return None  # nobody could be asked


def size_asked(said: Request) -> SizeClass | None:
    """Return the size of model that a request asks about, without a name; None where it asks about none."""
    from lqmf.fit import classes

    return classes.of(said.size_billions) if said.size_billions else None


def _beside(plan: QuantizationPlan, load: float) -> QuantizationPlan:
    """Return a plan whose estimate knows what else runs on this machine now."""
    estimate = plan.estimate
    return plan if estimate is None else dataclasses.replace(plan, estimate=dataclasses.replace(estimate, load=load))


def accepted(reply: Reply) -> Any:
    """Return the value of an answer. Raises JobCancelled when the user backs out."""
    if reply.kind != "value":
        raise JobCancelled("Cancelled; nothing was changed.", "")
    return reply.value


def _answered(request: PlanRequest, question: Question, value: Any) -> PlanRequest:
    """Return the request with an answer in it. Raises JobCancelled for a no to a question that everything depends
    on."""
    if question.id in ("start", "cpu_fallback") and value is False:
        raise JobCancelled("Nothing was started.", "")
    changes = value if isinstance(value, Mapping) else {question.id: value}
    advised = request.advised | {question.id} if value == question.default else request.advised
    said, asked = dataclasses.replace(request.said, **changes), request.asked | {question.id}
    return dataclasses.replace(request, said=said, asked=asked, advised=advised)


def _doomed(finding: Finding) -> Question:
    return Question(
        id="preflight",
        text=f"This cannot succeed ({finding.name}): {finding.detail.rstrip('.')}. Start all the same?",
        options=(Option(True, "yes, start"), Option(False, "no")),
        default=False,
        reason=finding.remedy,
    )


def _findable(said: Request) -> Request:
    """Return the request with the method's own spelling of a type, and with absolute paths of the folders and files
    that it names."""
    said = spelled(said)
    paths = {"calibration": said.calibration, "adapter": said.adapter}
    there: dict[str, Any] = {
        name: str(Path(path).expanduser().absolute()) for name, path in paths.items() if path and not _is_hub(path)
    }
    return dataclasses.replace(said, **there)


def _is_hub(path: str) -> bool:
    return path.startswith("hub:")


def _with_context(said: Request, advised: Mapping[str, Any]) -> Request:
    """Return the request with the context that was advised, for which needs are then exact."""
    return dataclasses.replace(said, context=advised["context"]) if "context" in advised else said


def _each_type(said: Request) -> list[Request]:
    """Return a request for each type asked for: none, one, or a list ("Q4_K_M,Q8_0,auto@4.2GB"). Raises UsageError."""
    names = [part.strip() for part in said.type.split(",")] if said.type else [None]
    return [dataclasses.replace(said, **_type(name)) for name in names]


def _type(name: str | None) -> dict[str, Any]:
    """Return one type as fields of a request; a mix may name its size."""
    if name is None or "@" not in name:
        return {"type": name}
    kind, _, size = name.partition("@")
    return {"type": kind, "target_size_gb": parse_file_size(size) / GB}


def _tokenizer(info: ModelInfo, needs: Needs | None) -> Tokenizer:
    """Return the state of the tokenizer, as llama.cpp's converter found it when it wrote the header."""
    if not info.has_tokenizer:
        return Tokenizer("none", "there is none")
    if needs is not None and needs.method != "gguf":
        return Tokenizer("known", "transformers reads it")
    if needs is None or needs.origin == "formula":
        return Tokenizer("unchecked", "its files could not be read yet")
    return Tokenizer(*header_tokenizer(needs))


def _unread_template(info: ModelInfo) -> Template:
    """Return the state of the chat template without reading it: a folder that has none has none."""
    if info.ref.kind == "hub" and not info.has_chat_template:
        return Template("unknown", "its files could not be read yet")
    return Template("unknown", "there is one") if info.has_chat_template else Template("none")


def _free(place: Path) -> int:
    """Return the free bytes of the disk where `place` is, or will be."""
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return shutil.disk_usage(there).free
