"""Each kind of planted damage is caught by the check that is named for it, and a sound file passes them all."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lqmf import workspace
from lqmf.jobs.tasks import probe, structure
from lqmf.jobs.tasks.structure import ALL
from lqmf.quality.checks import checks
from lqmf.records import Task
from tests.commands import document_here as document
from tests.commands import here
from tests.fixtures_gguf import DEMO, demo_gguf
from tests.fixtures_safetensors import demo_folder
from tests.quality import planted

OWN = ("whole_file", *ALL)  # every check of the task
EOS, ROPE = "tokenizer.ggml.eos_token_id", "llama.rope.freq_base"
TEMPLATE = "tokenizer.chat_template"


def check(artifact: Path, *, source: Path | None = DEMO, base: Path | None = None) -> dict[str, Any]:
    """What the task finds, its checks by name."""
    params = {"artifact": str(artifact), "source": source and str(source), "base": base and str(base)}
    found = structure.run(Task("j", "structure", params, ""), lambda event: None)
    return {**found, "checks": {one["name"]: one for one in found["checks"]}}


def against_gguf(artifact: Path) -> dict[str, Any]:
    return check(artifact, base=demo_gguf("F16"))


def failed(found: dict[str, Any]) -> dict[str, str]:
    """The failed checks and what they say."""
    return {name: one["detail"] for name, one in found["checks"].items() if not one["passed"]}


def copied(kind: str, place: Path) -> Path:
    return Path(shutil.copytree(demo_folder(kind), place / kind))


# ---------------------------------------------------------------- sound files


@pytest.mark.parametrize("type", ["F16", "Q8_0", "Q4_K_M", "Q2_K"])
def test_a_sound_gguf_passes_every_check(type):
    found = against_gguf(demo_gguf(type))
    assert tuple(found["checks"]) == OWN
    assert failed(found) == found["reasons"] == {}
    assert found["other_model"] == ""


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8", "gptq", "auto_gptq"])
def test_a_sound_folder_passes_every_check(kind):
    found = check(demo_folder(kind), base=DEMO)
    assert tuple(found["checks"]) == OWN
    assert failed(found) == found["reasons"] == {}


def test_without_a_source_only_the_file_itself_is_checked_and_the_rest_says_why():
    params = {"artifact": str(demo_gguf("Q4_K_M")), "reason": "it is elsewhere"}
    found = structure.run(Task("j", "structure", params, ""), lambda event: None)
    assert [one["name"] for one in found["checks"]] == ["whole_file", "finite_weights"]
    assert found["reasons"] == {f"checks.{name}": "it is elsewhere" for name in OWN[2:]}


def test_settings_are_checked_against_a_folder_where_there_is_no_gguf_of_it():
    found = check(demo_gguf("Q4_K_M"))
    assert failed(found) == {}
    assert set(found["reasons"]) == {"checks.source_weights", "checks.layer_order"}


def test_a_gguf_of_the_source_is_enough_where_its_folder_is_gone():
    found = check(demo_gguf("Q4_K_M"), source=None, base=demo_gguf("F16"))
    assert tuple(found["checks"]) == OWN
    assert failed(found) == {}


def test_where_the_sources_own_tokenizer_cannot_be_read_its_gguf_stands_in(tmp_path):
    source = Path(shutil.copytree(DEMO, tmp_path / "source"))
    (source / "tokenizer.json").write_text("{}")
    found = check(demo_gguf("Q4_K_M"), source=source, base=demo_gguf("F16"))
    assert tuple(found["checks"]) == OWN
    alone = check(demo_gguf("Q4_K_M"), source=source)
    assert "checks.template" in alone["reasons"]
    assert "template" not in alone["checks"]


def test_a_source_of_which_it_is_not_clear_which_file_is_meant_is_no_check_and_says_so(tmp_path):
    for type in ("F16", "Q8_0"):
        (tmp_path / f"demo-{type}.gguf").symlink_to(demo_gguf(type))
    params = {"artifact": str(demo_gguf("Q4_K_M")), "source": str(tmp_path)}
    found = structure.run(Task("j", "structure", params, ""), lambda event: None)
    assert [one["name"] for one in found["checks"]] == ["whole_file", "finite_weights"]
    assert "several GGUF files" in found["reasons"]["checks.template"]


def test_what_was_not_read_in_time_is_no_check_and_says_so():
    params = {"artifact": str(demo_gguf("Q4_K_M")), "budget_seconds": 0}
    found = structure.run(Task("j", "structure", params, ""), lambda event: None)
    assert [one["name"] for one in found["checks"]] == ["whole_file"]
    assert "not all was read in 0 s" in found["reasons"]["checks.finite_weights"]


# ---------------------------------------------------------------- damage to a GGUF

DAMAGE = {
    "two layers swapped": (planted.swapped(2, 5), "layer_order", "blk.2."),
    "one tensor zeroed": (planted.zeroed("blk.3.ffn_down.weight"), "source_weights", "blk.3.ffn_down.weight is zero"),
    "wrong rope base": (planted.value(ROPE, "<f", 1e6), "rope", "base 1e+06, the source has 10000"),
    "wrong EOS id": (planted.value(EOS, "<I", 7), "end_of_text", "(7); the source ends with '<|endoftext|>' (0)"),
    "a changed chat template": (planted.text(TEMPLATE, "<|im_end|>\n", "<|im_end|> "), "template", "it writes"),
    "a shifted vocabulary": (planted.shifted_vocabulary, "vocabulary", "sampled tokens differ"),
    "NaN in one block": (planted.nan_scale("blk.6.ffn_up.weight"), "finite_weights", "blk.6.ffn_up.weight"),
    "a truncated file": (planted.cut_short, "whole_file", "lacks 1,024 bytes"),
    "another context": (planted.value("llama.context_length", "<I", 4096), "context_length", "the source has 2,048"),
    "another beginning": (planted.value("tokenizer.ggml.bos_token_id", "<I", 9), "special_tokens", "bos is token 9"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_planted_damage_is_caught_by_its_check(what, tmp_path):
    damage, name, told = DAMAGE[what]
    found = failed(against_gguf(planted.planted(demo_gguf("Q4_K_M"), tmp_path / "damaged.gguf", damage)))
    assert told in found[name]


def test_swapped_layers_are_not_called_anything_else(tmp_path):
    damaged = planted.planted(demo_gguf("Q4_K_M"), tmp_path / "damaged.gguf", planted.swapped(2, 5))
    assert failed(against_gguf(damaged)).keys() == {"layer_order"}


def test_a_lost_tensor_is_a_failed_check_of_the_probe_too(tmp_path):
    damage = planted.zeroed("blk.3.ffn_down.weight")
    path = planted.planted(demo_gguf("Q4_K_M"), tmp_path / "damaged.gguf", damage)
    found = probe.run(Task("j", "probe", {"artifact": str(path)}, ""), lambda event: None)
    lost = {one["name"]: one["detail"] for one in found["checks"] if not one["passed"]}
    assert "blk.3.ffn_down.weight" in lost["weights_present"]


@pytest.mark.parametrize("part", ["attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up"])
@pytest.mark.parametrize("layer", range(8))
def test_nan_in_one_block_of_any_layer_is_named(layer, part, tmp_path):
    """llama.cpp itself may swallow it: activations that are NaN are rounded to numbers before the next product."""
    name = f"blk.{layer}.{part}.weight"
    path = planted.planted(demo_gguf("Q4_K_M"), tmp_path / "damaged.gguf", planted.nan_scale(name))
    found = checks.finite_weights(path)
    assert not found.passed
    assert found.detail == f"NaN or infinity in {name}"


def test_a_flipped_bit_is_caught_by_verify(tmp_path):
    folder = tmp_path / "quantized-models" / "demo_gguf_4bit_Q4_K_M"
    folder.mkdir(parents=True)
    shutil.copy(demo_gguf("Q4_K_M"), folder / "demo-Q4_K_M.gguf")
    _with_manifest(folder)
    planted.planted(demo_gguf("Q4_K_M"), folder / "demo-Q4_K_M.gguf", planted.flipped_bit)
    told = here(tmp_path, "verify", folder.name, "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["status"] == "failed"
    assert "demo-Q4_K_M.gguf" in told.stdout


def _with_manifest(folder: Path) -> None:
    workspace.write_json(folder / "receipt.json", {})
    manifest = {
        "format_version": 1,
        "name": folder.name,
        "model": {"kind": "demo", "id": "demo"},
        "commit": None,
        "source_sha256": {},
        "plan": {"id": "p", "method": "gguf", "bits": 4, "type": "Q4_K_M"},
        "files": workspace.file_entries(folder),
        "versions": {},
        "created_at": "2026-01-01T00:00:00+00:00",
        "source_size_bytes": 1,
    }
    workspace.write_json(folder / "manifest.json", manifest)


# ---------------------------------------------------------------- damage to a folder

PROJECTION = "model.layers.3.mlp.down_proj"
FOLDER_DAMAGE = {
    "nf4, a tensor zeroed": (
        "nf4",
        partial(planted.zero_tensor, name=f"{PROJECTION}.weight"),
        "source_weights",
        PROJECTION,
    ),
    "int8, a tensor zeroed": (
        "int8",
        partial(planted.zero_tensor, name=f"{PROJECTION}.weight"),
        "source_weights",
        f"{PROJECTION}.weight is zero",
    ),
    "gptq, a tensor zeroed": (
        "gptq",
        partial(planted.zero_tensor, name=f"{PROJECTION}.qweight"),
        "source_weights",
        PROJECTION,
    ),
    "nf4, two layers swapped": ("nf4", partial(planted.swap_layers, one=2, other=5), "layer_order", "layers.2."),
    "int8, two layers swapped": ("int8", partial(planted.swap_layers, one=2, other=5), "layer_order", "layers.2."),
    "gptq, two layers swapped": ("gptq", partial(planted.swap_layers, one=2, other=5), "layer_order", "layers.2."),
    "nf4, a scale that is NaN": (
        "nf4",
        partial(planted.nan_float, name=f"{PROJECTION}.weight.nested_absmax"),
        "finite_weights",
        PROJECTION,
    ),
    "gptq, a scale that is NaN": (
        "gptq",
        partial(planted.nan_float, name=f"{PROJECTION}.scales"),
        "finite_weights",
        PROJECTION,
    ),
    "nf4, another rope base": (
        "nf4",
        partial(planted.configure, file="config.json", rope_parameters={"rope_theta": 5e5, "rope_type": "default"}),
        "rope",
        "base 500000, the source has 10000",
    ),
    "gptq, another end": (
        "gptq",
        partial(planted.configure, file="tokenizer_config.json", eos_token="<|im_start|>"),
        "end_of_text",
        "'<|im_start|>'",
    ),
}


@pytest.mark.parametrize("what", FOLDER_DAMAGE)
def test_planted_damage_to_a_folder_is_caught_by_its_check(what, tmp_path):
    kind, damage, name, told = FOLDER_DAMAGE[what]
    folder = copied(kind, tmp_path)
    damage(folder)
    assert told in failed(check(folder, base=DEMO))[name]


@pytest.mark.parametrize("kind", ["nf4", "gptq"])
def test_a_changed_template_of_a_folder_is_caught(kind, tmp_path):
    file = copied(kind, tmp_path) / "chat_template.jinja"
    file.write_text(file.read_text().replace("assistant\n", "assistant"))
    assert "the source" in failed(check(file.parent, base=DEMO))["template"]


def test_safetensors_that_are_cut_short_are_not_whole(tmp_path):
    file = copied("int8", tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    found = check(file.parent, base=DEMO)
    assert found["checks"].keys() == {"whole_file"}
    assert "cut short" in failed(found)["whole_file"]


# ---------------------------------------------------------------- all the way through


@pytest.mark.slow
def test_a_damaged_file_of_anybodys_gets_a_receipt_whose_gate_fails(tmp_path):
    """Against the model itself, of which a GGUF is made for it."""
    path = planted.planted(demo_gguf("Q4_K_M"), tmp_path / "damaged.gguf", planted.swapped(2, 5))
    told = here(tmp_path / "home", "test", str(path), "--base", "demo", "--gate", "--json")
    receipt = json.loads(told.stdout)["receipt"]
    assert told.returncode == 1, told.stderr
    assert receipt["gate"]["passed"] is False
    assert any("layer_order" in reason for reason in receipt["gate"]["reasons"])
    assert receipt["base"]["model"] == "demo"
    assert json.loads((tmp_path / "damaged.receipt.json").read_text()) == receipt


@pytest.mark.slow
def test_a_sound_folder_of_anybodys_passes_the_gate_against_its_source(tmp_path):
    folder = copied("nf4", tmp_path)
    told = here(tmp_path / "home", "test", str(folder), "--base", str(DEMO), "--gate", "--json")
    assert told.returncode == 0, told.stderr
    receipt = json.loads(told.stdout)["receipt"]
    assert receipt["gate"]["passed"] is True
    assert len(receipt["checks"]) == 6 + len(OWN)
    assert json.loads((folder / "receipt.json").read_text()) == receipt


def test_a_base_that_a_file_was_not_made_from_is_refused(tmp_path):
    path = planted.planted(demo_gguf("Q4_K_M"), tmp_path / "other.gguf", planted.shifted_vocabulary)
    told = document(tmp_path / "home", "test", str(path), "--base", str(demo_gguf("F16")))
    assert told["error"]["code"] == "measurement"
    assert "was not made from demo-F16.gguf" in told["error"]["message"]
    assert "sampled tokens differ" in told["error"]["message"]
    assert not (tmp_path / "other.receipt.json").exists()


def test_a_base_that_is_quantized_itself_is_refused(tmp_path):
    told = document(tmp_path, "test", str(demo_gguf("Q4_K_M")), "--base", str(demo_gguf("Q8_0")))
    assert told["error"]["code"] == "usage"
    assert "Q8_0" in told["error"]["message"]
