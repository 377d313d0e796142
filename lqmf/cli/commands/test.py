"""`lqmf test`: how good an artifact is, measured against its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import gating, options
from lqmf.cli.command import Ask, Command
from lqmf.errors import UsageError
from lqmf.records import Artifact, Decision, Option, Outcome, Question, to_json

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "test",
    "measure an artifact, or anyone's file, against its source",
    intents=("test",),
    examples=(
        "lqmf test list",
        "lqmf test discover",
        "lqmf test demo_gguf_4bit_Q4_K_M",
        "lqmf test demo --comprehensive --json",
        "lqmf test ./model-Q4_K_M.gguf --base org/model --gate",
        "lqmf test http://127.0.0.1:8080/v1 --model NAME",
    ),
    order=40,
    names_artifacts=True,
)
LISTING = ("list", "discover")
NONE = "none"


def cli(
    name: options.Name,
    quick: Annotated[bool, typer.Option("--quick", help="Two minutes at most.")] = False,
    comprehensive: Annotated[
        bool, typer.Option("--comprehensive", help="Every window of the evaluation text.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="What it was made from: a model, its folder, or a 16-bit GGUF."),
    ] = None,
    model: options.ServedModel = None,
    gate: gating.Gate = None,
) -> Decision:
    """Test the artifact NAME and write its receipt. `list` shows what can be tested, `discover` looks on disk anew.

    A GGUF file or a folder of quantized safetensors that someone else made is measured against --base MODEL; its
    receipt is kept beside it. NAME may be the address of any OpenAI-compatible server, like http://127.0.0.1:8080/v1;
    LOCAL_API_KEY is sent to it where that is set."""
    if quick and comprehensive:
        raise UsageError("--quick and --comprehensive exclude each other.", "Leave one of them out.")
    if name in LISTING:
        if base is not None:
            raise UsageError("--base is for one file or artifact.", "Name it: `lqmf test FILE --base MODEL`.")
        return options.typed("test", action=name)
    depth = "quick" if quick else "comprehensive" if comprehensive else None
    if model and not options.address(name):
        raise UsageError("--model is for an address.", "lqmf test http://127.0.0.1:8080/v1 --model NAME")
    if base and options.address(name):
        raise UsageError("An address cannot be held against --base.", "Leave --base out, or name the model's file.")
    return options.typed("test", name=name, test=depth, base=base, served=model, gate=gate or None)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Test what is named; without a name, show what there is and let one be picked."""
    if decision.slots.get("name"):
        return await _test(app, decision, ask)
    artifacts = app.pipeline.artifacts()
    if not artifacts or not ask.interactive or decision.slots.get("action") == "discover":
        return _listing(artifacts)
    if decision.slots.get("action"):
        ask.show(_listing(artifacts).view)
    picked = await ask(_which(artifacts, looking=bool(decision.slots.get("action"))))
    if picked.kind != "value" or picked.value == NONE:
        return Outcome({"status": "cancelled"}, "Nothing was tested.")
    return await _test(app, Decision("test", {**decision.slots, "name": picked.value}), ask)


async def _test(app: App, decision: Decision, ask: Ask) -> Outcome:
    from rich.console import Group

    from lqmf.cli import next_step
    from lqmf.cli.views.artifacts import feedback_lines
    from lqmf.cli.views.receipts import receipt_view
    from lqmf.settings import secret

    slots = decision.slots
    if options.address(slots.get("name")):
        key, depth = secret(app.settings, "local_api_key"), str(slots.get("test") or "quick")
        artifact, receipt = await app.pipeline.test_address(slots["name"], slots.get("served"), key, depth)
    else:
        artifact, receipt = await app.pipeline.test(decision, ask)
    document, feedback = to_json(receipt), app.pipeline.feedback(artifact)
    data = {
        "status": "done",
        "artifact": to_json(artifact),
        "receipt": document,
        "feedback": next_step.document(feedback),
    }
    view = Group(receipt_view(artifact, document), *feedback_lines(feedback))
    code = gating.exit_code([document], asked=bool(decision.slots.get("gate")))
    return Outcome(data, view, code, feedback.proposal)


def _listing(artifacts: list[Artifact]) -> Outcome:
    from lqmf.cli.views.artifacts import artifacts_view

    return Outcome({"artifacts": [to_json(artifact) for artifact in artifacts]}, artifacts_view(artifacts))


def _which(artifacts: list[Artifact], *, looking: bool) -> Question:
    """The question; who only came to look has none as the answer that Enter gives."""
    from lqmf.units import file_size

    options_ = tuple(Option(a.name, f"{a.name}  {file_size(a.size_bytes)}") for a in artifacts)
    if looking:
        return Question("name", "Test one of them? Enter: none.", options_, NONE, "A test takes a minute or more.")
    return Question("name", "Which one shall be tested?", options_, artifacts[0].name, "It is the newest.")
