"""Keys of each kind are planted in settings and in what is typed, and a whole job is done: none is in anything that is
written, shown or sent."""

from __future__ import annotations

import json

import pytest

from tests.advice.script import answer
from tests.commands import lqmf, written
from tests.providers.places import KEYS, WIRED, options
from tests.providers.wire import says, serving

TOKEN = "hf_PlantedTokenOfTheHub0123456789"
SECRETS = [*KEYS.values(), TOKEN]


@pytest.mark.slow
def test_a_whole_job_leaves_no_secret_anywhere(tmp_path):
    said = says(answer(reason=f"Because {' '.join(SECRETS)} says so."))
    with serving(*[said] * 8) as server:
        settings = options(server, *WIRED, local_model="m", hf_token=TOKEN, llm_keep_prompts="true")
        environment = {name.upper(): str(value) for name, value in settings.items()}
        lines = [f"my keys are {' '.join(SECRETS)}", "quantize demo to Q8_0 without a test", "history", "exit"]
        ran = lqmf(tmp_path, stdin="\n".join(lines) + "\n", env=environment)
        sent = json.dumps([one["body"] for one in server.asked])
    kept, shown = written(tmp_path), ran.stdout.replace(lines[0], "") + ran.stderr  # a line typed is echoed as typed
    assert server.asked
    assert list(tmp_path.rglob("manifest.json"))
    for secret in SECRETS:
        assert secret.encode() not in kept
        assert secret not in sent
        assert secret not in shown
