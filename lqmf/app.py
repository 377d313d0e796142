"""The composition root: builds settings, store, agents and pipeline, and hands each of them its dependencies.

Each part is built on first use, so that a command pays only for the parts that it needs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.errors import LqmfError, StoreError
from lqmf.events import Bus, Emit, Notice, stage
from lqmf.records import Hardware, ModelInfo, ModelRef

if TYPE_CHECKING:
    from lqmf.advice.adviser import Adviser
    from lqmf.advice.reading import Reader
    from lqmf.agents.benchmark_agent import BenchmarkAgent
    from lqmf.agents.enhanced_decision_agent import EnhancedDecisionAgent
    from lqmf.agents.executor_agent import ExecutorAgent, PartialDownload
    from lqmf.agents.feedback_agent import FeedbackAgent
    from lqmf.agents.memory_agent import MemoryAgent
    from lqmf.agents.planner_agent import PlannerAgent
    from lqmf.artifacts.base_model import Sources
    from lqmf.artifacts.shelf import Shelf
    from lqmf.hub.client import HubClient
    from lqmf.hub.models import Models
    from lqmf.jobs.runner import Runner
    from lqmf.pipeline import Pipeline
    from lqmf.planning.gather import Gatherer
    from lqmf.planning.planner import Planner
    from lqmf.providers.calls import Calls
    from lqmf.quantization.promise import Backend
    from lqmf.retry import RetryPolicy
    from lqmf.settings import Loaded


GLANCE_SECONDS = 0.06  # a look at what else runs, before a plan is shown


class App:
    """One workspace, ready to use. `options` are settings given on the command line."""

    def __init__(self, root: Path, root_reason: str, options: Mapping[str, Any]) -> None:
        self.root = root
        self.root_reason = root_reason
        self.options = dict(options)
        self.bus = Bus()

    @classmethod
    def create(cls, wanted: str | None, options: Mapping[str, Any], start: Path, environment: Mapping[str, str]) -> App:
        """Return the app for the workspace that --workspace, LQMF_HOME or the current folder points to."""
        root, reason = workspace.find_root(wanted, start, environment)
        return cls(root, reason, options)

    # ------------------------------------------------------------ settings and places

    @cached_property
    def settings(self) -> Loaded:
        """Return every setting with its origin. Raises SettingsError."""
        from lqmf import settings

        return settings.load(self.root, self.options)

    @cached_property
    def workspace(self) -> workspace.Workspace:
        """Return the folders of this workspace. Each folder is created on first use. Raises SettingsError."""
        return self.settings.values.workspace(self.root)

    def hardware(self) -> Hardware:
        """Return the processor, memory and GPUs of this machine as they are now."""
        from lqmf import hardware

        return hardware.detect()

    def backends(self) -> dict[str, Backend]:
        """Return the quantization methods of this installation, by name."""
        from lqmf.quantization import registry

        return registry.backends()

    # ------------------------------------------------------------ agents

    @cached_property
    def understanding(self) -> EnhancedDecisionAgent:
        from lqmf.agents.enhanced_decision_agent import EnhancedDecisionAgent

        return EnhancedDecisionAgent()

    @cached_property
    def planner(self) -> Planner:
        from lqmf.planning.planner import Planner

        values = self.settings.values
        return Planner(
            self.backends(),
            gpu_memory_limit_gb=values.gpu_memory_limit,
            cpu_fallback=values.cpu_fallback,
            keep_16bit=values.keep_16bit,
        )

    @cached_property
    def planning(self) -> PlannerAgent:
        from lqmf import hardware
        from lqmf.agents.planner_agent import PlannerAgent

        return PlannerAgent(
            self.workspace.artifacts,
            self.models,
            self.hardware,
            self.backends(),
            self.understanding,
            self.planner,
            self.memory.remember_model,
            self._gatherer,
            self.adviser,
            partial(hardware.load, GLANCE_SECONDS),
        )

    @cached_property
    def reader(self) -> Reader | None:
        """Return the reader that asks a provider about a line that no rule could read; None where no provider is
        set."""
        if self.llm is None:
            return None
        from lqmf.advice.reading import Reader
        from lqmf.providers.config import llm_settings

        return Reader(self.llm, wait_s=llm_settings(self.settings).wait_s, redact=self.redact, emit=self.bus.publish)

    @cached_property
    def adviser(self) -> Adviser | None:
        """Return the adviser that asks a provider about plans and models; None where no provider is set."""
        if self.settings.values.llm_provider == "none" or self.llm is None:
            return None
        from lqmf.advice.adviser import Adviser
        from lqmf.providers.config import llm_settings

        async def look(id: str) -> ModelInfo:
            return await self.models.inspect(self.models.resolve(id))

        return Adviser(
            self.llm,
            wait_seconds=llm_settings(self.settings).wait_s,
            redact=self.redact,
            emit=self.bus.publish,
            history=self.history,
            look=look,
        )

    @cached_property
    def _gatherer(self) -> Gatherer:
        from lqmf.hardware import cpu_name
        from lqmf.planning.gather import Gatherer

        return Gatherer(self._skeleton, self.history, cpu_name(), self.bus.publish)

    @cached_property
    def _skeleton(self) -> Callable[[ModelInfo], Awaitable[Path]]:
        from lqmf.hub.skeleton import skeleton
        from lqmf.workspace import cache_dir

        return partial(skeleton, hub=self.hub, root=cache_dir() / "skeletons", models=self.workspace.models)

    def history(self) -> list[dict[str, Any]]:
        """Return the rows of earlier predictions with their measurements; empty where the store cannot be read."""
        try:
            return self.memory.predictions()
        except StoreError:
            return []

    @cached_property
    def memory(self) -> MemoryAgent:
        from lqmf.agents.memory_agent import MemoryAgent
        from lqmf.store.open import may_have_running, open_store

        backend, folder = self.settings.values.storage_backend, self.workspace.store
        return MemoryAgent(
            partial(open_store, backend, folder),
            self.workspace.artifacts,
            redact=self.redact,
            notify=self.notify,
            may_have_running=partial(may_have_running, backend, folder),
        )

    @cached_property
    def executor(self) -> ExecutorAgent:
        from lqmf.agents.executor_agent import ExecutorAgent
        from lqmf.artifacts.card import modelfile
        from lqmf.artifacts.card.model_card import model_card

        values = self.settings.values
        return ExecutorAgent(
            self.workspace,
            self.bus,
            self.runner,
            self.models.fetch,
            model_card,
            modelfile=modelfile.of_artifact,
            partial=self._partial_download,
            max_retries=values.max_retries,
            save_plans=values.auto_save_plans,
        )

    @cached_property
    def _partial_download(self) -> PartialDownload:
        from lqmf.agents.executor_agent import PartialDownload
        from lqmf.hub import download

        place, options = self.workspace.models, download.TransferOptions(retry=self._retry)

        async def passing(info: ModelInfo, used: Path, emit: Emit, job: str) -> Path:
            return await download.fetch_passing(info, place, used, hub=self.hub, emit=emit, job=job, options=options)

        return PartialDownload(
            self._skeleton,
            partial(download.arrivals, dest_root=place),
            passing,
            lambda info, used: download.passing_bytes(info, place, used),
            partial(download.forget_passing, dest_root=place),
        )

    @cached_property
    def feedback(self) -> FeedbackAgent:
        from lqmf.agents.feedback_agent import FeedbackAgent
        from lqmf.quality.receipt import gate

        values = self.settings.values
        return FeedbackAgent(self.runner.run, limits=gate.limits(values.gate_kl, values.gate_top1))

    @cached_property
    def benchmark(self) -> BenchmarkAgent:
        from lqmf.agents.benchmark_agent import BenchmarkAgent

        return BenchmarkAgent(self.runner.run)

    @cached_property
    def shelf(self) -> Shelf:
        """Return the shelf of the artifacts in quantized-models/. Its warnings go out as notices."""
        from lqmf.artifacts.shelf import Shelf

        return Shelf(self.workspace.artifacts, lambda text: self.bus.publish(Notice(text=text, level="warning")))

    @cached_property
    def sources(self) -> Sources:
        """Return the sources, which find or make the base that an artifact is compared with."""
        from lqmf.artifacts.base_model import Sources

        return Sources(self.workspace, self.models, self.planning.inspect, self.runner.run)

    @cached_property
    def pipeline(self) -> Pipeline:
        from lqmf.artifacts.card.model_card import model_card
        from lqmf.jobs.journal import EventLog
        from lqmf.pipeline import Pipeline

        self.bus.subscribe(EventLog(self.workspace.logs, self.redact))
        self.bus.subscribe(self.memory.on_event)
        return Pipeline(
            self.workspace,
            self.bus,
            self.models,
            self.understanding,
            self.planning,
            self.executor,
            self.feedback,
            self.memory,
            self.sources,
            model_card,
        )

    # ------------------------------------------------------------ the world outside

    @cached_property
    def runner(self) -> Runner:
        from lqmf.jobs.runner import LocalRunner

        return LocalRunner()

    @cached_property
    def hub(self) -> HubClient:
        from lqmf.hub.client import HubClient

        return HubClient(token_provider=self._token, retry=self._retry)

    @cached_property
    def _retry(self) -> RetryPolicy:
        from lqmf.retry import RetryPolicy

        return RetryPolicy(max_retries=self.settings.values.max_retries)

    def _token(self) -> str | None:
        from lqmf.hub import auth

        return auth.token(self.tokens())[0]

    def tokens(self) -> dict[str, str | None]:
        """Return the Hugging Face tokens of the settings (.env and the environment), by the name of the variable."""
        from lqmf.settings import secret

        return {name.upper(): secret(self.settings, name) for name in ("hf_token", "huggingface_token")}

    def redact(self, text: str) -> str:
        """Return `text` with every secret of the settings, and every text that looks like a secret, masked."""
        from lqmf.hub import auth
        from lqmf.settings import secret, secrets

        held = (secret(self.settings, name) for name in sorted(secrets()))
        return auth.redact(text, secrets=[value for value in held if value])

    @cached_property
    def llm(self) -> Calls | None:
        """Return the calls through which LLM providers are asked; None where no provider is set. No SDK is imported
        before the first call."""
        if self.settings.values.llm_provider == "none":
            return None
        from lqmf.providers import registry
        from lqmf.providers.calls import Calls, Ledger
        from lqmf.providers.config import llm_settings

        settings = llm_settings(self.settings)
        build = partial(registry.build, settings=settings, artifacts=self.workspace.artifacts)
        ledger = Ledger(self.memory.remember_call, self.memory.llm_calls)
        return Calls(settings, build, ledger, redact=self.redact, notify=self.notify)

    @cached_property
    def models(self) -> Models:
        from lqmf.hub import auth, download, metadata, snapshots
        from lqmf.hub.models import Models
        from lqmf.hub.published import published_ggufs
        from lqmf.model_files.refs import parse_ref
        from lqmf.understanding.models import canonical

        place = self.workspace.models
        options = download.TransferOptions(retry=self._retry)

        async def inspect(ref: ModelRef) -> ModelInfo:
            if ref.kind != "hub":
                return await metadata.inspect(ref, hub=self.hub)
            with stage(self.bus.publish, "ask", f"Asking the Hub about {ref.id}", ""):
                return await download.inspect_or_find(ref, place, hub=self.hub)

        async def fetch(info: ModelInfo, emit: Emit, job: str) -> Path:
            return await download.fetch(info, place, hub=self.hub, emit=emit, job=job, options=options)

        return Models(
            resolve=partial(parse_ref, canonical=canonical),
            inspect=inspect,
            fetch=fetch,
            missing=partial(download.missing_bytes, dest_root=place),
            stored=partial(_stored, place),
            present=partial(snapshots.present, dest_root=place),
            published=partial(published_ggufs, hub=self.hub),
            login=partial(auth.login, endpoint=self.hub.base_url()),
        )

    def notify(self, text: str) -> None:
        """Publish a sentence for people as a notice."""
        self.bus.publish(Notice(text=text))

    def __enter__(self) -> App:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store, if it was opened."""
        if "memory" in self.__dict__:
            self.memory.close()


def _stored(place: Path, ref: ModelRef, commit: str | None) -> Path | None:
    """Return a model's folder where its files are on this machine at that commit, else None. Asks no server."""
    from lqmf.hub import snapshots
    from lqmf.hub.download import find_local
    from lqmf.model_files.refs import DEMO_FOLDER

    if ref.kind == "demo":
        return DEMO_FOLDER
    if ref.kind == "local":
        folder = Path(ref.path or "")
        return folder if folder.is_dir() else None
    try:
        info = find_local(ModelRef("hub", ref.id, commit or ref.revision), place)
    except LqmfError:
        return None
    return snapshots.present(info, place) if info else None
