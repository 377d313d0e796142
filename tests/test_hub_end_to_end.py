"""From a Hub id to an artifact, by the command line, against a local hub: doors that are closed, hostile repositories,
kills, and no network at all."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from lqmf.model_files.refs import DEMO_FOLDER
from tests.commands import command, document, environment, lqmf, written
from tests.fixtures_gguf import demo_gguf
from tests.hub.server import LocalHub

pytestmark = pytest.mark.slow
QUANTIZE = ("quantize", "ada/demo", "--type", "Q4_K_M", "--test", "none", "--yes")
TOKEN = "hf_validtokenofada"


@pytest.fixture
def hub():
    with LocalHub(tokens={TOKEN: "ada"}) as server:
        yield server


def at(hub: LocalHub, **more: str) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, **more}


def visible(root: Path) -> list[str]:
    folder = root / "quantized-models"
    return [p.name for p in folder.iterdir() if not p.name.startswith(".")] if folder.is_dir() else []


def weights_asked(hub: LocalHub) -> int:
    """Bytes of weights that the hub sent."""
    return sum(r.sent for r in hub.requests if "safetensors" in r.path and r.method == "GET")


def test_a_model_is_fetched_once_and_then_needs_no_network(hub, tmp_path):
    hub.add_repo("ada/demo", DEMO_FOLDER)
    first = lqmf(tmp_path, *QUANTIZE, env=at(hub))
    assert first.returncode == 0, first.stderr
    assert visible(tmp_path) == ["ada_demo_gguf_4bit_Q4_K_M"]
    fetched = weights_asked(hub)
    assert fetched >= (DEMO_FOLDER / "model.safetensors").stat().st_size
    offline = lqmf(tmp_path, *QUANTIZE, env={"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"})
    assert offline.returncode == 0, offline.stderr
    assert weights_asked(hub) == fetched
    assert sorted(visible(tmp_path)) == ["ada_demo_gguf_4bit_Q4_K_M", "ada_demo_gguf_4bit_Q4_K_M_v2"]
    manifest = json.loads((tmp_path / "quantized-models" / "ada_demo_gguf_4bit_Q4_K_M" / "manifest.json").read_text())
    assert manifest["model"]["id"] == "ada/demo"
    assert len(manifest["commit"]) == 40


def test_a_gated_model_is_refused_with_the_way_in_and_fetched_with_a_token_that_leaves_no_trace(hub, tmp_path):
    hub.add_repo("ada/demo", DEMO_FOLDER, gated=True)
    refused = document(tmp_path, *QUANTIZE, env=at(hub))
    assert refused["error"]["code"] in ("gated_model", "unauthorized")
    assert "lqmf hf login" in refused["error"]["remedy"]
    assert weights_asked(hub) == 0
    hub.granted.add("ada")
    done = lqmf(tmp_path, *QUANTIZE, env=at(hub, HF_TOKEN=TOKEN))
    assert done.returncode == 0, done.stderr
    assert TOKEN.encode() not in written(tmp_path)
    assert TOKEN not in done.stdout + done.stderr


def test_the_chat_offers_to_log_in_and_then_goes_on_with_the_download(hub, tmp_path):
    hub.add_repo("ada/demo", DEMO_FOLDER, gated=True)
    hub.granted.add("ada")
    said = f"quantize ada/demo --type Q4_K_M --test none\n{TOKEN}\nexit\n"
    done = lqmf(tmp_path, stdin=said, env=at(hub))
    assert done.returncode == 0, done.stdout + done.stderr
    assert visible(tmp_path) == ["ada_demo_gguf_4bit_Q4_K_M"]
    assert TOKEN not in done.stdout + done.stderr
    kept = [p for p in (tmp_path / "hf-home").rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    assert kept, "huggingface_hub's own store holds the token"
    assert all(p.stat().st_mode & 0o077 == 0 for p in kept)
    shutil.rmtree(tmp_path / "hf-home")
    assert TOKEN.encode() not in written(tmp_path)


def test_a_chat_killed_in_mid_download_goes_on_by_range(hub, tmp_path):
    hub.add_repo("ada/demo", DEMO_FOLDER)
    hub.fail("*model.safetensors", "slow", times=100, bytes_per_second=4_000_000)
    chat = subprocess.Popen(
        command(tmp_path, *QUANTIZE),
        env=environment(tmp_path, **at(hub)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while weights_asked(hub) < 10_500_000 and time.monotonic() < deadline:
        time.sleep(0.02)
    chat.kill()
    chat.wait()
    assert visible(tmp_path) == []
    before = len(hub.requests)
    resumed = lqmf(tmp_path, "resume", "--yes", env=at(hub))
    assert resumed.returncode == 0, resumed.stderr
    again = sum(r.sent for r in hub.requests[before:] if "safetensors" in r.path and r.method == "GET")
    assert again < (DEMO_FOLDER / "model.safetensors").stat().st_size - 1_000_000
    assert [r.range for r in hub.requests[before:] if r.range], "the server was asked for ranges"
    assert visible(tmp_path) == ["ada_demo_gguf_4bit_Q4_K_M"]


def test_a_transient_failure_heals_and_its_attempts_are_recorded(hub, tmp_path):
    hub.add_repo("ada/demo", DEMO_FOLDER)
    hub.fail("*model.safetensors", "cut", times=4, after=1_000_000)
    done = document(tmp_path, *QUANTIZE, env=at(hub))
    assert done["status"] == "done"
    record = document(tmp_path, "show", done["job"])
    assert [row for row in record["events"] if "Trying again" in json.dumps(row)], "what failed is in the record"


@pytest.mark.parametrize("name", ["../../etc", "ada/../secret", "a/b/c", "ada/\x1b[31mred", "ada/demo@../x"])
def test_an_id_that_leads_elsewhere_is_refused_and_shown_harmlessly(hub, tmp_path, name):
    done = lqmf(tmp_path, "quantize", name, "--type", "Q4_K_M", "--yes", env=at(hub))
    assert done.returncode in (1, 2)
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not hub.requests
    assert visible(tmp_path) == []


def test_pickled_weights_are_refused_before_anything_but_metadata_is_fetched(hub, tmp_path):
    repo = tmp_path / "repo"
    repo.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO_FOLDER / name, repo)
    proof = tmp_path / "unpickled"
    (repo / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch " + str(proof).encode() + b"'\ntR.")
    hub.add_repo("ada/demo", repo)
    answer = document(tmp_path / "home", *QUANTIZE, env=at(hub))
    assert answer["error"]["code"] in ("unsafe_format", "unsupported_model")
    assert "pickle" in answer["error"]["message"].lower()
    assert not [r for r in hub.requests if r.path.endswith(".bin")]
    assert not proof.exists()


def test_a_models_own_python_is_neither_fetched_nor_run(hub, tmp_path):
    repo, proof = tmp_path / "repo", tmp_path / "ran"
    shutil.copytree(DEMO_FOLDER, repo)
    hostile = f"open({str(proof)!r}, 'w').write('ran')\n"
    (repo / "modeling_demo.py").write_text(hostile)
    (repo / "tokenization_demo.py").write_text(hostile)
    config = json.loads((repo / "config.json").read_text())
    auto = {"AutoConfig": "modeling_demo.Config", "AutoModelForCausalLM": "modeling_demo.Model"}
    (repo / "config.json").write_text(json.dumps({**config, "auto_map": auto}))
    settings = json.loads((repo / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["tokenization_demo.Tokenizer", None]}
    (repo / "tokenizer_config.json").write_text(json.dumps(settings))
    hub.add_repo("ada/demo", repo)
    lqmf(tmp_path / "home", *QUANTIZE, env=at(hub))
    assert not proof.exists()
    assert not [r for r in hub.requests if r.path.endswith(".py")]


def test_control_characters_in_a_models_files_do_not_reach_the_terminal(hub, tmp_path):
    repo = tmp_path / "repo"
    shutil.copytree(DEMO_FOLDER, repo)
    config = json.loads((repo / "config.json").read_text())
    (repo / "config.json").write_text(json.dumps({**config, "architectures": ["\x1b]0;owned\x07Llama\x1b[2J"]}))
    hub.add_repo("ada/demo", repo)
    for arguments in (QUANTIZE, ("plan", "ada/demo", "--type", "Q4_K_M"), ("list",), ("show", "ada/demo")):
        done = lqmf(tmp_path / "home", *arguments, env=at(hub))
        assert "\x1b" not in done.stdout + done.stderr, arguments
        assert "\x07" not in done.stdout + done.stderr, arguments


def test_a_source_that_is_discarded_leaves_the_same_artifact_and_nothing_else_also_after_a_kill(hub, tmp_path):
    hub.add_repo("ada/demo", DEMO_FOLDER)
    kept, passed = tmp_path / "kept", tmp_path / "passed"
    assert lqmf(kept, *QUANTIZE, "--no-imatrix", env=at(hub)).returncode == 0
    hub.fail("*.safetensors", "slow", times=8, bytes_per_second=1_000_000)
    chat = subprocess.Popen(
        command(passed, *QUANTIZE, "--discard-source"),
        env=environment(passed, **at(hub)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: list(passed.glob("quantized-models/.building-work-*/*.part")), chat)
    chat.kill()
    chat.wait()
    assert lqmf(passed, *QUANTIZE, "--discard-source", env=at(hub)).returncode == 0
    [one], [two] = kept.glob("quantized-models/*/*.gguf"), passed.glob("quantized-models/*/*.gguf")
    assert one.read_bytes() == two.read_bytes()
    assert not list(passed.glob("models/**/*.safetensors"))
    receipt = json.loads((two.parent / "receipt.json").read_text())
    assert receipt["kl_divergence"] is None
    plan = json.loads((two.parent / "manifest.json").read_text())["plan"]
    assert "compares with nothing" in json.dumps(plan["choices"])


def wait_until(happened, chat: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert chat.poll() is None, "the chat ended before"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_several_types_come_out_of_one_download_and_one_reading(hub, tmp_path):
    hub.add_repo("ada/demo", DEMO_FOLDER)
    types = ("--type", "Q6_K,Q8_0", "--test", "none", "--yes")
    made = document(tmp_path, "quantize", "ada/demo", *types, env=at(hub))
    assert [artifact["type"] for artifact in made["artifacts"]] == ["Q6_K", "Q8_0"]
    logs = "".join(path.read_text() for path in (tmp_path / "logs").glob("*.jsonl"))
    assert logs.count('"title": "Quantizing to Q6_K, Q8_0"') == 1
    assert logs.count("Quantizing to") == 1
    assert weights_asked(hub) < 1.1 * (DEMO_FOLDER / "model.safetensors").stat().st_size


def test_a_file_of_anybodys_is_measured_against_a_model_of_the_hub_which_is_fetched_for_it(hub, tmp_path):
    hub.add_repo("ada/demo", DEMO_FOLDER)
    file = tmp_path / "somebodys.gguf"
    shutil.copy(demo_gguf("Q4_K_M"), file)
    told = lqmf(tmp_path / "home", "test", str(file), "--base", "ada/demo", "--gate", "--json", env=at(hub))
    assert told.returncode == 0, told.stderr
    receipt = json.loads(told.stdout)["receipt"]
    assert receipt["base"]["model"].startswith("ada/demo@")
    assert all(check["passed"] for check in receipt["checks"])
    assert {"template", "vocabulary", "rope", "source_weights"} <= {check["name"] for check in receipt["checks"]}
    assert json.loads((tmp_path / "somebodys.receipt.json").read_text()) == receipt


def test_an_artifact_is_made_again_at_its_commit_when_the_repository_has_moved_on_and_not_when_it_is_gone(
    hub, tmp_path
):
    """The source is not on this machine any more: it is fetched, and nothing else of that name will do."""
    hub.add_repo("ada/demo", DEMO_FOLDER)
    assert lqmf(tmp_path, *QUANTIZE, "--no-imatrix", env=at(hub)).returncode == 0
    shutil.rmtree(tmp_path / "models")
    moved = {path.name: path.read_bytes() for path in DEMO_FOLDER.iterdir()}
    hub.add_repo("ada/demo", {**moved, "generation_config.json": b"{}"})
    again = lqmf(tmp_path, "rebuild", "ada_demo", "--json", env=at(hub))
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["status"] == "same"
    shutil.rmtree(tmp_path / "models")
    hub.repos.clear()
    gone = document(tmp_path, "rebuild", "ada_demo", env=at(hub))
    assert gone["error"]["code"] == "model_not_found"
    assert "cannot be had any more" in gone["error"]["message"]
    offline = document(
        tmp_path, "rebuild", "ada_demo", env={"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    )
    assert offline["error"]["code"] == "offline"
    assert visible(tmp_path) == ["ada_demo_gguf_4bit_Q4_K_M"]
