"""Any OpenAI-compatible address can be tested and benchmarked, and what cannot be asked says what to type."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lqmf.cli.views.benchmarks import benchmark_view
from lqmf.cli.views.receipts import receipt_view
from lqmf.engines.http.engine import HttpEngine
from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.quality import address
from lqmf.texts.evaluation import EVALUATION, MAIN
from tests.commands import here
from tests.engines.openai_server import Server, serving
from tests.fixtures_gguf import demo_gguf

HTML = (200, {"Content-Type": "text/html"}, b"<html>hello</html>", False)
KEY = "sk-right-0123456789"
SHORT = address.Depth(samples=1, runs=1, characters=1000, written_tokens=16, passages=2, prompts_each=1)


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaCppEngine]:
    with LlamaCppEngine(demo_gguf("Q4_K_M")) as local:
        yield local


@pytest.fixture
def server(engine: LlamaCppEngine) -> Iterator[Server]:
    with serving(engine) as far_end:
        far_end.offered = ["demo"]
        yield far_end


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.txt"
    path.write_text("What is a file?\nWhat is a database?\n", encoding="utf-8")
    return str(path)


def drawn(view: object) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(view)
    return " ".join(captured.get().replace("│", " ").split())


def quiet(done: float, total: float | None, note: str = "") -> None:
    """Progress that nobody watches."""


def asked(place: Path, *words: str, **env: str) -> tuple[int, dict[str, Any]]:
    ran = here(place, *words, "--json", env=env)
    assert "Traceback" not in ran.stderr
    return ran.returncode, json.loads(ran.stdout)


@pytest.mark.slow
def test_an_address_gets_a_receipt_that_is_kept(server: Server, tmp_path: Path) -> None:
    code, told = asked(tmp_path, "test", server.url, "--model", "demo")
    assert code == 0, told
    receipt = told["receipt"]
    assert receipt["tokens_per_second"]["prompt"] > 0
    assert receipt["tokens_per_second"]["generation"] > 0
    assert receipt["latency_seconds"]["first_token"] > 0
    assert len(receipt["samples"]) == 3
    assert 20 < receipt["perplexity"] < 200
    assert receipt["kl_divergence"] is None
    assert "distribution" in receipt["reasons"]["kl_divergence"]
    assert receipt["size_bytes"] is receipt["peak_memory_bytes"] is None
    assert receipt["gate"]["passed"] is None
    assert told["artifact"]["path"] == server.url
    (kept,) = (tmp_path / "benchmarks").glob("*.json")
    document = json.loads(kept.read_text(encoding="utf-8"))
    assert (document["kind"], document["receipt"]) == ("test", receipt)


@pytest.mark.slow
def test_an_address_is_benchmarked_alone_and_with_several_chats(server: Server, tmp_path: Path, prompts: str) -> None:
    server.key = KEY
    words = ("benchmark", server.url, "--parallel", "2", "--prompts", prompts)
    code, told = asked(tmp_path, *words, LOCAL_API_KEY=KEY)
    assert code == 0, told
    benchmark = told["benchmark"]
    assert [row["parallel"] for row in benchmark["speed"]] == [1, 2]
    assert all(row["generation"]["per_second"] > 0 for row in benchmark["speed"])
    assert [answer["tokens"] > 0 for answer in benchmark["answers"]] == [True, True]
    assert benchmark["source"] is None
    assert benchmark["measured_on"]["cpu"] is None
    assert Path(told["path"]).parent == tmp_path / "benchmarks"
    assert "Not held against the source" in drawn(benchmark_view(told))
    assert KEY not in json.dumps(told)
    assert not any(KEY in path.read_text(encoding="utf-8") for path in (tmp_path / "logs").glob("*"))


def test_the_loss_is_that_of_the_same_passages_read_here(server: Server, engine: LlamaCppEngine) -> None:
    import numpy as np

    text = EVALUATION[MAIN]
    with HttpEngine(server.url, "demo") as remote:
        found = address.loss(remote, text, 2)
    whole = " ".join(text.read_text(encoding="utf-8").split())
    nats: list[float] = []
    for start in (0, address.PASSAGE):
        tokens = engine.tokenize(whole[start : start + address.PASSAGE], bos=True)
        (logits,) = engine.logits([tokens])
        rows = logits.astype(np.float64)
        for at, token in enumerate(tokens[1:]):
            if len(engine.detokenize(tokens[: at + 1])) >= address.PASSAGE // 2:
                nats.append(float(np.log(np.exp(rows[at]).sum()) - rows[at, token]))
    assert found["tokens_evaluated"] == len(nats)
    assert found["perplexity"] == pytest.approx(math.exp(sum(nats) / len(nats)), rel=1e-3)


def test_a_server_that_neither_counts_nor_scores_leaves_nulls_with_reasons(server: Server) -> None:
    server.counts = server.scores = False
    with HttpEngine(server.url, "demo") as remote:
        found = address.receipt(remote, SHORT, EVALUATION[MAIN], quiet)
    assert found["tokens_per_second"] == {"prompt": None, "generation": None}
    assert found["perplexity"] is None
    assert "log-probabilities" in found["reasons"]["perplexity"]
    assert "count" in found["reasons"]["tokens_per_second.generation"]
    shown = drawn(receipt_view(address.artifact(server.url, "demo"), found))
    assert "writing - the server does not count tokens" in shown
    assert "size - the model runs behind an address" in shown


def test_a_long_prompt_is_shortened_to_what_the_server_takes(server: Server) -> None:
    server.longest = 1000
    with HttpEngine(server.url, "demo") as remote:
        found = address.receipt(remote, address.Depth(1, 1, 2000, 16, 0, 1), EVALUATION[MAIN], quiet)
    assert found["tokens_per_second"]["prompt"] > 0
    assert "no log-probability" in found["reasons"]["perplexity"]


@pytest.mark.parametrize(
    ("words", "change", "says", "remedy"),
    [
        (("--model", "other"), {}, "it offers: demo", "--model"),
        ((), {"offered": ["a", "b"]}, "Which model", "--model"),
        ((), {"key": KEY}, "401", "LOCAL_API_KEY"),
        ((), {"script": HTML}, "not JSON", "OpenAI"),
        (("--base", "demo"), {}, "--base", "Leave --base out"),
    ],
)
def test_what_cannot_be_asked_says_why_and_what_to_type(
    server: Server, tmp_path: Path, words: tuple[str, ...], change: dict[str, Any], says: str, remedy: str
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    code, told = asked(tmp_path, "test", server.url, *words, LOCAL_API_KEY="sk-wrong-0123456789")
    assert code in (1, 2)
    assert says in told["error"]["message"]
    assert remedy in told["error"]["remedy"]
    assert "sk-wrong" not in json.dumps(told)


def test_an_address_where_nobody_is_says_so(tmp_path: Path) -> None:
    code, told = asked(tmp_path, "test", "http://127.0.0.1:9/v1", "--model", "x")
    assert code == 1
    assert "cannot be reached" in told["error"]["message"]
    assert "server runs" in told["error"]["remedy"]


def test_an_address_is_a_command_in_the_chat_too(tmp_path: Path) -> None:
    ran = here(tmp_path, stdin="test http://127.0.0.1:9/v1 --model other\n")
    assert "cannot be reached" in ran.stdout
    assert ran.returncode == 1
