"""Whatever stands in a manifest or a receipt, every command answers in words and the sound artifacts beside it stay.

LQMF_MUTATIONS=1000 python -m pytest tests/cli/test_damaged_records.py
"""

import contextlib
import copy
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lqmf import workspace

MUTATIONS = int(os.environ.get("LQMF_MUTATIONS", "60"))
SOUND, OTHER, DAMAGED = "sound_gguf_4bit_Q4_K_M", "other_gguf_5bit_Q5_K_M", "damaged_gguf_4bit_Q4_K_M"
COMMANDS: list[tuple[str, ...]] = [
    ("list",),
    ("show", DAMAGED),
    ("docs", DAMAGED, "--force"),
    ("stats",),
    ("compare", DAMAGED, SOUND),
    ("verify", DAMAGED, "--quick"),
    ("rebuild", DAMAGED),
    ("test", "list"),
    ("disk",),
    ("history",),
    ("report", DAMAGED, SOUND, "--out", "report.html"),
]
WRONG: list[Any] = [
    None, True, "", "text", "12", "\ud800", -1, 0, 10**25, 10**400, 1.5,
    float("nan"), float("inf"), [], [1], ["a"], [None],
    {}, {"a": 1}, {"mean": "x"}, [[]], [{}], {"": {}},
]  # fmt: skip
RECEIPT_MORE: dict[str, Any] = {
    "perplexity_ratio": {"value": 1.01, "standard_error": 0.001},
    "right_token": {"mean_change": -0.001, "rms_change": 0.02, "standard_error": 0.0001},
    "domains": {"prose": {"kl_divergence": {"mean": 0.01}, "top1_agreement": 0.9, "perplexity": 5.0, "base": {}}},
    "prediction": {"size_bytes": {"predicted": 240.0, "measured": 250.0, "error": 0.04, "missed": False}},
    "gate": {"passed": False, "reasons": ["KL divergence is high."], "limits": {"kl_mean": 0.1, "top1": 0.8}},
    "first_logits": {"tokens": [1, 2], "top": [[3, -0.5]]},
    "sequence_loss": {"artifact": 1.0, "source": 0.9, "change": 0.1, "standard_error": 0.01},
    "reasons": {"checks.loads": "no engine", "similarity": "it is a decoder"},
}


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a document holds a value, the whole of it first."""
    yield at
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inner:
        yield from places(value, (*at, key))


def mutated(document: Any, chance: random.Random) -> Any:
    """`document` with one to three of its values replaced or taken away."""
    for _ in range(chance.randint(1, 3)):
        *way, last = chance.choice([place for place in places(document) if place] or [(None,)])
        if last is None or chance.random() < 0.03:
            return chance.choice(WRONG)
        document = copy.deepcopy(document)
        inner = document
        for key in way:
            inner = inner[key]
        if isinstance(inner, dict) and chance.random() < 0.2:
            del inner[last]
        else:
            inner[last] = chance.choice(WRONG)
    return document


def test_no_command_fails_over_a_damaged_manifest_or_receipt(make_artifact, run, home, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(home)
    make_artifact(OTHER, "Q5_K_M", 5, **RECEIPT_MORE)
    sound, folder = make_artifact(SOUND), make_artifact(DAMAGED, **RECEIPT_MORE)
    healthy = {path: path.read_bytes() for path in sound.iterdir()}
    whole = {name: json.loads((folder / name).read_text()) for name in ("manifest.json", "receipt.json")}
    faults = []
    for number in range(MUTATIONS):
        chance = random.Random(number)
        name = chance.choice(sorted(whole))
        for each, document in whole.items():
            workspace.write_json(folder / each, document)
        (folder / name).write_text(json.dumps(mutated(whole[name], chance)))
        with contextlib.suppress(FileNotFoundError):
            (home / "mcp" / "lqmf.db").unlink()  # so that it is filled from what lies on the disk
        for command in [chance.choice(COMMANDS), chance.choice(COMMANDS)]:
            ran = run(*command)
            if any(word in ran.err + ran.out for word in ("made a mistake", "Traceback")):
                faults.append((number, name, command, ran.err[-300:]))
    assert faults == []
    assert {path: path.read_bytes() for path in sound.iterdir()} == healthy


@pytest.mark.parametrize("name", ["manifest.json", "receipt.json"])
def test_a_damaged_record_is_told_by_name_with_its_remedy_and_everything_else_goes_on(make_artifact, run, name):
    make_artifact(SOUND)
    folder: Path = make_artifact(DAMAGED)
    (folder / name).write_text(json.dumps({**json.loads((folder / name).read_text()), "files": 3, "perplexity": "low"}))
    listed = run("test", "list")
    assert listed.code == 0
    assert " ".join(listed.err.split()).count(DAMAGED) >= 1
    assert SOUND in listed.out
    remedy = {"manifest.json": f"`lqmf delete {DAMAGED}`", "receipt.json": f"`lqmf test {DAMAGED}`"}[name]
    assert remedy in " ".join((listed.err + listed.out).split())


def test_an_artifact_with_a_damaged_manifest_can_be_deleted(make_artifact, run):
    make_artifact(SOUND)
    folder = make_artifact(DAMAGED)
    (folder / "manifest.json").write_text('{"name": [], "plan": 3}')
    assert run("delete", DAMAGED, "--force").code == 0
    assert not folder.exists()
    assert run("verify", SOUND, "--quick").code == 0


def test_a_damaged_receipt_counts_as_not_measured(make_artifact, run):
    folder = make_artifact(DAMAGED, checks="all of them")
    assert run("verify", DAMAGED, "--quick", "--json").document["artifact"] == folder.name
    told = next(one for one in run("test", "list", "--json").document["artifacts"] if one["name"] == DAMAGED)
    assert told["receipt"]["reasons"] == {"*": "its receipt cannot be read: checks should be a valid array"}
    assert told["receipt"]["perplexity"] is None
