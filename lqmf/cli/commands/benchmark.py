"""`lqmf benchmark`: how fast an artifact is, and how its answers compare with its source's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.errors import UsageError
from lqmf.quality.address import is_address
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.benchmark import Benchmarked

COMMAND = Command(
    "benchmark",
    "time an artifact, and score its answers against its source's",
    intents=("benchmark",),
    examples=(
        "lqmf benchmark demo_gguf_4bit_Q4_K_M",
        "lqmf benchmark demo --comprehensive --parallel 8 --json",
        "lqmf benchmark demo --tasks hellaswag,arc_easy",
        "lqmf benchmark http://127.0.0.1:8080/v1 --model NAME --parallel 4",
    ),
    order=55,
    names_artifacts=True,
)


def cli(
    name: options.Name = None,
    quick: Annotated[bool, typer.Option("--quick", help="Two prompts of each kind, a minute of timing.")] = False,
    comprehensive: Annotated[
        bool, typer.Option("--comprehensive", help="Every prompt, more depths, more runs, longer answers.")
    ] = False,
    parallel: options.Parallel = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="Prompts of your own: a line each, or JSON.")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", metavar="LIST", help="Tasks of lm-evaluation-harness, or YAML files, with commas."),
    ] = None,
    device: options.Device = None,
    model: options.ServedModel = None,
) -> Decision:
    """Time the artifact NAME at several depths of context, alone and with several chats at once, and hold its answers
    to a fixed set of prompts against its source's. Without NAME the newest. NAME may be the address of any
    OpenAI-compatible server; LOCAL_API_KEY is sent to it where that is set."""
    if quick and comprehensive:
        raise UsageError("--quick and --comprehensive exclude each other.", "Leave one of them out.")
    if model and not is_address(name):
        raise UsageError("--model is for an address.", "lqmf benchmark http://127.0.0.1:8080/v1 --model NAME")
    if tasks and is_address(name):
        raise UsageError("An address cannot be asked named tasks.", "Leave --tasks out, or name the model's file.")
    return options.typed(
        "benchmark",
        name=name,
        test="comprehensive" if comprehensive else "quick" if quick else None,
        parallel=parallel,
        prompts=str(prompts.expanduser().absolute()) if prompts else None,
        tasks=tasks,
        device=device,
        served=model,
    )


def view(found: Benchmarked) -> RenderableType:
    """Speed, answers and tasks."""
    from lqmf.cli.views.benchmarks import benchmark_view

    return benchmark_view(found.file)
