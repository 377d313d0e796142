"""Help with plans offline: an artifact of one's own, in a worker and behind a server, in constrained decoding."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from lqmf.advice.answers import Recommendation
from lqmf.app import App
from lqmf.cli.ask import Nobody
from lqmf.cli.render import Screen
from lqmf.errors import ProviderNotReady, ProviderUnavailable
from lqmf.operations import plan
from lqmf.providers.base import Message, Usage
from lqmf.providers.config import llm_settings
from lqmf.providers.registry import build
from lqmf.records import Request, to_json
from lqmf.settings import load
from tests.advice.places import notices, place
from tests.fixtures_gguf import demo_gguf
from tests.providers.own_server import MODEL, serving

ASKED = [Message("system", "Be short."), Message("user", "Which type? " * 2000)]
WISH = Request(intent="plan", model="org/m", method="gguf")


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    folder = tmp_path / "quantized-models"
    folder.mkdir()
    shutil.copy(demo_gguf("Q4_K_M"), folder / "mine.gguf")
    return folder


def own(artifacts: Path, name: str = "mine"):
    return build("local", llm_settings(load(artifacts.parent, {"local_artifact": name})), artifacts)


def planned(app: App) -> dict:
    return asyncio.run(plan.run(app, WISH, Nobody(Screen(json=True)))).document


def test_the_answer_has_the_form_whatever_the_model_and_a_long_prompt_is_no_hindrance(artifacts):
    done = asyncio.run(own(artifacts).complete(ASKED, Recommendation, max_tokens=2048, timeout_s=120))
    assert isinstance(done.value, Recommendation)
    assert (done.provider, done.model) == ("local", "mine")
    assert done.usage.input_tokens <= 2048
    assert done.usage.output_tokens > 5


def test_prose_comes_piece_by_piece(artifacts):
    async def heard() -> list[str | Usage]:
        return [piece async for piece in own(artifacts).stream(ASKED, max_tokens=24, timeout_s=120)]

    *words, usage = asyncio.run(heard())
    assert len(words) > 3
    assert isinstance(usage, Usage)


def test_one_that_is_too_slow_is_given_up_in_time(artifacts):
    with pytest.raises(ProviderUnavailable, match="too slow"):
        asyncio.run(own(artifacts).complete(ASKED, Recommendation, max_tokens=2048, timeout_s=0.05))


def test_an_artifact_that_there_is_not_names_the_way_to_another(artifacts):
    with pytest.raises(ProviderNotReady) as caught:
        own(artifacts, "nothing-like-it")
    assert "local_artifact" in caught.value.remedy


def test_a_plan_is_made_end_to_end_with_an_own_artifact(tmp_path, artifacts):
    without = planned(place(tmp_path))
    app = place(tmp_path, {"llm_provider": "local", "local_artifact": "mine", "llm_wait_s": 120})
    told = notices(app)
    made = planned(app)
    assert made["status"] == "planned"
    assert made["advice"]["provider"] == "local"
    assert told == []
    assert _same(made["plan"]) == _same(without["plan"]) or made["advice"]["slots"]
    rows = app.memory.llm_calls()
    assert [(row["provider"], row["purpose"], row["outcome"]) for row in rows] == [("local", "plan", "ok")]
    app.close()


def test_a_plan_is_made_end_to_end_through_a_server_of_ones_own(tmp_path):
    with serving(demo_gguf("Q4_K_M")) as (address, seen):
        options = {"llm_provider": "local", "local_base_url": address, "llm_wait_s": 120}
        app = place(tmp_path, options)
        told = notices(app)
        made = planned(app)
        app.close()
    assert made["status"] == "planned"
    assert (made["advice"]["provider"], made["advice"]["model"]) == ("local", MODEL)
    assert told == []
    assert seen[0]["response_format"]["type"] == "json_schema"


def _same(made: dict) -> dict:
    return {name: made[name] for name in ("method", "bits", "type", "context", "device")}


def test_its_answer_is_only_ever_one_of_the_planners_candidates(tmp_path, artifacts):
    app = place(tmp_path, {"llm_provider": "local", "local_artifact": "mine", "llm_wait_s": 120})
    made = planned(app)
    types = {one["type"] for one in made["plan"]["candidates"]}
    assert made["plan"]["type"] in types
    assert to_json(made["advice"])["slots"].get("type", made["plan"]["type"]) in types
    app.close()
