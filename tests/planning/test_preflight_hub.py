"""What is said of a model on the hub before its weights are fetched: each obstacle in its own clear words, with a way
out, and nothing downloaded but metadata (the hub's own log of requests says so)."""

import json
import struct
from pathlib import Path

import pytest

from lqmf.model_files.refs import DEMO_FOLDER
from tests.commands import document, lqmf
from tests.hub.models import seven_b, sharded_demo, small_model
from tests.hub.server import Hollow, LocalHub

pytestmark = pytest.mark.slow
SHARD_BEGINNING = 600_000  # bytes: what is read of a shard to see its header, by the Hub's client and by us, each time
MOST_METADATA_BYTES = 20_000_000


@pytest.fixture
def hub():
    with LocalHub() as server:
        yield server


def at(hub: LocalHub, **more: str) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, **more}


def findings(told: dict) -> dict[str, dict]:
    return {finding["name"]: finding for finding in told["findings"]}


def only_metadata(hub: LocalHub) -> bool:
    """Whether the hub sent no more of any file of weights than its beginning, and little in all."""
    sent: dict[str, int] = {}
    for request in hub.requests:
        if request.path.endswith((".safetensors", ".bin", ".pt")):
            sent[request.path] = sent.get(request.path, 0) + request.sent
    everything = sum(request.sent for request in hub.requests)
    return max(sent.values(), default=0) <= SHARD_BEGINNING and everything < MOST_METADATA_BYTES


def preflight(root: Path, hub: LocalHub, *options: str, **env: str) -> dict:
    told = document(root, "preflight", "ada/model", *options, env=at(hub, **env))
    assert only_metadata(hub), [(r.path, r.range, r.sent) for r in hub.requests]
    assert not (root / "quantized-models").exists()
    return told


def test_a_model_that_can_be_done_is_told_with_what_it_costs_and_five_plans_at_most(hub, tmp_path):
    hub.add_repo("ada/model", sharded_demo(tmp_path / "files"))
    told = preflight(tmp_path / "home", hub)
    assert told["status"] == "possible"
    assert all(finding["answer"] in ("yes", "but", "unknown") for finding in told["findings"])
    assert told["estimate"]["download_bytes"] > 14_000_000
    assert 1 <= len(told["fit"]["best"]) <= 5
    assert told["fit"]["recommended"] == told["fit"]["best"][0]
    asked = len(hub.requests)
    again = preflight(tmp_path / "home", hub)
    assert again["fit"]["recommended"]["run"] == told["fit"]["recommended"]["run"]
    assert not [r for r in hub.requests[asked:] if r.path.endswith(".safetensors")], "what was read is kept by commit"


def test_a_7b_model_on_a_card_of_8_gb_is_answered_from_headers_alone(hub, tmp_path):
    hub.add_repo("ada/model", with_tokenizer(seven_b()))
    told = preflight(tmp_path, hub, "--memory", "8GB", "--device", "gpu", "--context", "8192")
    chosen = told["fit"]["recommended"]
    gpu = sum(size for name, size in chosen["memory"].items() if name.endswith("_gpu"))
    assert (chosen["type"], chosen["run"]["context"], chosen["run"]["gpu_layers"]) == ("Q4_K_M", 8192, 33)
    assert gpu <= (8 << 30) - (512 << 20)
    assert 4.3e9 < chosen["file_bytes"] < 4.4e9  # published: 4.37 GB


def with_tokenizer(files: dict) -> dict:
    """`files` with a tokenizer that is whole: the demo's."""
    kept = {name: body for name, body in files.items() if name != "tokenizer.model"}
    return {**kept, **{path.name: path.read_bytes() for path in DEMO_FOLDER.glob("*token*")}}


def test_behind_a_gate_the_way_in_is_told(hub, tmp_path):
    hub.add_repo("ada/model", DEMO_FOLDER, gated=True)
    told = preflight(tmp_path, hub)
    assert told["status"] == "impossible"
    assert findings(told)["access"]["answer"] == "no"
    assert "lqmf hf login" in findings(told)["access"]["remedy"]


def test_a_tokenizer_that_llama_cpp_cannot_have_is_told_before_anything_is_fetched(hub, tmp_path):
    files = {path.name: path.read_bytes() for path in DEMO_FOLDER.iterdir() if path.is_file()}
    tokenizer = json.loads(files["tokenizer.json"])
    split = {"type": "Split", "pattern": {"Regex": "[^e]*e|[^e]+"}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False, "trim_offsets": True}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, level]}
    files["tokenizer.json"] = json.dumps(tokenizer).encode()
    hub.add_repo("ada/model", files)
    told = preflight(tmp_path, hub)
    assert told["status"] == "impossible"
    assert findings(told)["tokenizer"]["answer"] == "no"
    assert findings(told)["tokenizer"]["remedy"]
    refused = lqmf(tmp_path, "quantize", "ada/model", "--type", "Q4_K_M", "--yes", env=at(hub))
    assert refused.returncode == 1
    assert "tokenizer" in refused.stderr
    assert only_metadata(hub)


def test_pickled_weights_alone_are_never_opened(hub, tmp_path):
    files = small_model()
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    hub.add_repo("ada/model", files)
    told = preflight(tmp_path, hub)
    assert told["status"] == "impossible"
    assert "safetensors" in findings(told)["weights"]["remedy"]


def test_an_architecture_that_no_backend_knows_is_named(hub, tmp_path):
    hub.add_repo("ada/model", small_model(architectures=["LanternForCausalLM"], model_type="lantern"))
    told = preflight(tmp_path, hub)
    assert told["status"] == "impossible"
    assert "LanternForCausalLM" in findings(told)["method"]["detail"]
    assert findings(told)["method"]["remedy"]


def test_a_model_too_large_for_the_disk_says_what_is_lacking_and_no_job_begins(hub, tmp_path):
    hub.add_repo("ada/model", with_tokenizer(enormous()))
    told = preflight(tmp_path, hub, "--memory", "9000GB")
    assert told["status"] == "impossible"
    disk = findings(told)["disk"]
    assert disk["answer"] == "no"
    assert "lacking" in disk["remedy"]
    refused = lqmf(tmp_path, "quantize", "ada/model", "--type", "Q4_K_M", "--memory", "9000GB", "--yes", env=at(hub))
    assert refused.returncode == 1
    assert "disk" in refused.stderr
    assert only_metadata(hub)


def enormous() -> dict:
    """Mistral 7B with a feed-forward part so wide that no disk holds it."""
    files = seven_b()
    config = json.loads(files["config.json"])
    width, wide = config["intermediate_size"], 400 * config["intermediate_size"]
    files["config.json"] = json.dumps({**config, "intermediate_size": wide}).encode()
    return {name: widened(body, width, wide) if isinstance(body, Hollow) else body for name, body in files.items()}


def widened(file: Hollow, width: int, wide: int) -> Hollow:
    from tests.hub.models import hollow

    length = struct.unpack("<Q", bytes(file[0:8]))[0]
    header = json.loads(bytes(file[8 : 8 + length]))
    return hollow({name: [wide if n == width else n for n in entry["shape"]] for name, entry in header.items()})
