"""A preflight is one screen, or one document; whole screens are compared, at 80 columns."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from typer import BadParameter

from lqmf.cli import tree
from lqmf.cli.ask import Nobody
from lqmf.cli.commands import preflight as command
from lqmf.cli.render import Screen, clean
from lqmf.cli.views.fit import answer_view, ending_view, fit_view
from lqmf.cli.views.preflight import preflight_view
from lqmf.errors import NeedsInput
from lqmf.fit.quality import in_a_word
from lqmf.fit.solver import Solution
from lqmf.model_files.template_check import Template
from lqmf.operations import preflight as operation
from lqmf.planning.preflight import Preflight, examine
from lqmf.records import Decision, Loss, Question, Speed, to_json
from lqmf.units import small
from tests.cli.test_views import drawn
from tests.planning.test_preflight import GOOD, UNABLE, candidate, solution

GPU = solution(
    candidate(gpu_layers=33, speed=Speed(833.0, 44.04)),
    replace(candidate("Q5_K_M", gpu_layers=28, v_type="q4_0", context=131072), loss=Loss(0.00098, "a table")),
)
CPU = solution(candidate(), candidate("Q5_K_M", k_type="f16", v_type="f16"), candidate("Q3_K_M", parallel=4))
NOTHING = solution(least=candidate("Q2_K"), ways_out=("Say `--context 4096`.", "Take a smaller model."))

SCREENS: dict[str, tuple[Callable[[], Any], str]] = {
    "all is well": (
        lambda: preflight_view(examine(replace(GOOD, solution=CPU))),
        """
org/Model-7B
✓ access        open to everybody
✓ licence       apache-2.0
✓ weights       7.25 billion parameters, BF16, 14.5 GB
✓ architecture  MistralForCausalLM: decoder
✓ method        gguf: llama.cpp knows MistralForCausalLM.
✓ tokenizer     llama.cpp knows it
✓ chat template it renders a dialogue
✓ published     nobody has a GGUF that names it as its base
✓ download      14.5 GB
✓ disk          33.4 GB on the way, 18.9 GB at the end; 80.0 GB are free in
                /home/somebody/.lqmf
✓ memory        2.0 GB of RAM to quantize; 24.0 GB of 32.0 GB are free
✓ time          about 12 min 34 s to quantize, plus downloading and testing

 type         file     context   cache   memory   loss         KL
 ────────────────────────────────────────────────────────────────
 ★ Q4_K_M   4.4 GB       8,192   q8_0    4.8 GB   little   0.0123
   Q5_K_M   4.4 GB       8,192   f16     4.8 GB   little   0.0123
   Q3_K_M   4.4 GB   8,192 x 4   q8_0    4.8 GB   little   0.0123

· Loss (KL, nats a token): how far it strays from the original; a table.
· Speeds are unknown until `lqmf doctor --calibrate` has measured this machine.
✓ Recommended: Q4_K_M, 8,192 tokens, cache in q8_0. The least loss that fits.

✓ It can be done: `quantize org/Model-7B` begins.
""",
    ),
    "behind a gate": (
        lambda: preflight_view(examine(replace(UNABLE["gated"][0], template=Template("unknown", "not readable")))),
        """
org/Model-7B
✗ access        gated, and no token with access is here
                → Accept its terms at https://huggingface.co/org/Model-7B, then
                `lqmf hf login`.
✓ licence       apache-2.0
✓ weights       7.25 billion parameters, BF16, 14.5 GB
✓ architecture  MistralForCausalLM: decoder
✓ method        gguf: llama.cpp knows MistralForCausalLM.
✓ tokenizer     llama.cpp knows it
? chat template not readable
✓ published     nobody has a GGUF that names it as its base
✓ download      14.5 GB

✗ It cannot be done: access.
  → The lines above say what can be done instead.
""",
    ),
    "nothing fits": (
        lambda: preflight_view(examine(replace(GOOD, solution=NOTHING))),
        """
org/Model-7B
✓ access        open to everybody
✓ licence       apache-2.0
✓ weights       7.25 billion parameters, BF16, 14.5 GB
✓ architecture  MistralForCausalLM: decoder
✓ method        gguf: llama.cpp knows MistralForCausalLM.
✓ tokenizer     llama.cpp knows it
✓ chat template it renders a dialogue
✓ published     nobody has a GGUF that names it as its base
✓ download      14.5 GB
✓ disk          33.4 GB on the way, 18.9 GB at the end; 80.0 GB are free in
                /home/somebody/.lqmf
✓ memory        2.0 GB of RAM to quantize; 24.0 GB of 32.0 GB are free
✓ time          about 12 min 34 s to quantize, plus downloading and testing
✗ fit           even Q2_K with 8,192 tokens of context needs 4.8 GB of memory
                → Say `--context 4096`. Take a smaller model.

✗ It cannot be done: fit.
  → The lines above say what can be done instead.
""",
    ),
    "plans for a GPU": (
        lambda: fit_view(GPU),
        """
 type         file   context      GPU + RAM   loss               KL   tokens/s
 ─────────────────────────────────────────────────────────────────────────────
 ★ Q4_K_M   4.4 GB     8,192   5.2 + 0.5 GB   little         0.0123       44.0
   Q5_K_M   4.4 GB   131,072   5.2 + 0.5 GB   hardly any   0.000980          -

· Loss (KL, nats a token): how far it strays from the original; a table.
✓ Recommended: Q4_K_M, 8,192 tokens, cache in q8_0. The least loss that fits.
""",
    ),
    "no plan": (
        lambda: fit_view(NOTHING),
        """
✗ It does not fit: the least, Q2_K, 8,192 tokens, cache in q8_0, needs 4.8 GB.
  → Say `--context 4096`.
  → Take a smaller model.
""",
    ),
}


def screen(view: Any, width: int) -> str:
    return "\n".join(clean(line).rstrip() for line in drawn(view, width))


@pytest.mark.parametrize("name", SCREENS)
def test_the_whole_screen(name: str) -> None:
    view, expected = SCREENS[name]
    assert screen(view(), 80).strip("\n") == expected.strip("\n")


@pytest.mark.parametrize("width", range(60, 100, 4))
@pytest.mark.parametrize("what", [CPU, GPU])
def test_a_narrow_terminal_loses_columns_and_never_a_figure(what: Solution, width: int) -> None:
    lines = screen(fit_view(what), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    row = next(line for line in lines if line.startswith("   Q5_K_M"))
    kl = what.best[1].loss.kl_nats
    assert all(
        figure in row
        for figure in (f"{what.best[1].run.context:,}", "4.4 GB ", "5.2 + 0.5 GB" if what is GPU else "4.8 GB")
    )
    assert small(kl) in row or in_a_word(kl) in row


@pytest.mark.parametrize("width", range(40, 60, 3))
@pytest.mark.parametrize("what", [CPU, GPU])
def test_in_a_very_narrow_terminal_no_figure_is_cut_short(what: Solution, width: int) -> None:
    lines = screen(fit_view(what), width).splitlines()
    rows = [line.split() for line in lines if line.startswith((" ★", "   Q"))]
    whole = set(" ".join(line for line in screen(fit_view(what), 200).splitlines()).split())
    assert len(rows) == len(what.best)
    assert all(set(row) <= whole for row in rows)
    assert all(f"{one.run.context:,}" in row for row, one in zip(rows, what.best, strict=True))


def test_what_does_not_fit_a_narrow_terminal_goes_in_the_order_in_which_it_is_missed_least() -> None:
    heads = [screen(fit_view(GPU), width).strip().splitlines()[0] for width in (110, 80, 70, 55)]
    assert ["layers" in head for head in heads] == [True, False, False, False]
    assert ["cache" in head for head in heads] == [True, False, False, False]
    assert ["KL" in head for head in heads] == [True, True, False, False]
    assert ["tokens/s" in head for head in heads] == [True, True, True, False]
    assert ["loss" in head for head in heads] == [True, True, True, False]
    assert all("file" in head for head in heads)


def test_a_column_that_tells_no_row_from_another_goes_first() -> None:
    alike = replace(CPU, best=tuple(replace(one, run=CPU.best[0].run) for one in CPU.best))
    head = screen(fit_view(alike), 40).strip().splitlines()[0].split()
    assert head == ["type", "file", "memory", "KL"]


def test_no_loss_is_a_plain_nought() -> None:
    exact = replace(candidate("F16"), loss=Loss(0.0, "a table"))
    assert screen(fit_view(solution(exact)), 80).splitlines()[3].split()[-1] == "0"


def test_what_does_not_fit_a_gpu_says_what_it_needs_there_and_in_ram() -> None:
    told = " ".join(screen(fit_view(replace(NOTHING, least=candidate("Q2_K", gpu_layers=33))), 80).split())
    assert "needs 5.2 GB on the GPU and 470 MB of RAM." in told


def test_what_would_make_a_good_plan_better_is_said_below_it() -> None:
    told = screen(fit_view(replace(CPU, ways_out=("With 2.0 GB more, Q8_0 fits.",))), 80)
    assert "The least loss that fits.\n  → With 2.0 GB more, Q8_0 fits." in told


def test_a_model_whose_name_is_odd_is_quoted_in_the_next_command_and_obeyed_by_no_terminal() -> None:
    found = replace(examine(GOOD), model="/my models/\x1b[31mm")
    assert "`quantize '/my models/m'` begins" in screen(preflight_view(found), 80)


# ---------------------------------------------------------------- the command


def test_every_option_becomes_what_a_sentence_would_have_said() -> None:
    line = "preflight org/m --memory 8GB --ram 16GB --context 16k --kv-type q8_0 --parallel 2 --bits 4 --device gpu"
    assert tree.read(line.split()).decision == Decision(
        "preflight",
        {
            "model": "org/m",
            "bits": 4,
            "device": "gpu",
            "memory_gb": 8,
            "ram_gb": 16,
            "context": 16384,
            "kv_type": "q8_0",
            "parallel": 2,
        },
        1.0,
        "typed as a command",
    )


def test_what_was_said_beside_the_model_is_to_be_said_again() -> None:
    told = screen(preflight_view(examine(GOOD), options=True), 80)
    assert "`quantize org/Model-7B` with the same options begins." in told


@pytest.mark.parametrize("many", ["0", "-1", "2.5", "two"])
def test_chats_are_a_whole_number_from_one(many: str) -> None:
    with pytest.raises(BadParameter, match="Write a whole number, 1 or more"):
        tree.read(["preflight", "org/m", "--parallel", many])


def carried_out(found: Preflight) -> Any:
    """The operation's record, where the planner finds `found` after trying to ask something."""

    async def look(decision: Decision, ask: Any) -> Preflight:
        with pytest.raises(NeedsInput):
            await ask(Question("hf_token", "A token?", kind="secret"))
        return found

    app: Any = SimpleNamespace(planning=SimpleNamespace(preflight=look))
    return asyncio.run(operation.run(app, Decision("preflight", {"model": "org/m"}).request, Nobody(Screen())))


def test_what_is_possible_ends_with_0_and_says_everything_in_one_document() -> None:
    outcome = carried_out(examine(GOOD))
    assert outcome.ok
    document = json.loads(json.dumps(to_json(outcome.document)))
    assert document["status"] == "possible"
    assert document["model"] == "org/Model-7B"
    assert document["findings"][0] == {"name": "access", "answer": "yes", "detail": "open to everybody", "remedy": ""}
    assert document["methods"]["gguf"]["answer"] == "yes"
    assert document["published"] == []
    assert document["estimate"]["download_bytes"] == 14_500_000_000
    assert document["fit"]["recommended"]["run"]["context"] == 8192
    assert set(document["fit"]) == {"recommended", "why", "best", "least", "ways_out"}


@pytest.mark.parametrize("case", UNABLE)
def test_what_is_impossible_ends_with_1_and_the_screen_names_the_way_out(case: str) -> None:
    facts, _, _, remedy = UNABLE[case]
    outcome = carried_out(examine(facts))
    assert not outcome.ok
    assert outcome.document["status"] == "impossible"
    assert remedy in " ".join(screen(command.view(outcome), 200).split())


def test_a_context_beyond_the_models_own_is_a_no_and_has_no_tick() -> None:
    solved = solution(candidate("Q4_K_M"))
    told = " ".join(screen(answer_view("demo", solved, 32768), 80).split())
    assert told == "✗ demo takes no 32,768 tokens: it was trained for 8,192."
    assert screen(ending_view(solved, 32768), 80).strip().startswith("· What fits: Q4_K_M, 8,192 tokens")
    assert screen(answer_view("demo", solved, 4096), 80).startswith("✓")
    assert screen(ending_view(solved, None), 80).startswith("✓ It fits")
