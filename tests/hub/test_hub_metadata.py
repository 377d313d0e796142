"""A model is described without its weights, and a hostile repository is refused before anything is written."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import (
    ConnectionBroken,
    GatedModel,
    HubUnavailable,
    IncompleteModel,
    IntegrityError,
    LqmfError,
    ModelNotFound,
    Offline,
    RateLimited,
    Unauthorized,
    UnsafeFormat,
    UnsupportedModel,
)
from lqmf.hub.client import HubClient
from lqmf.hub.metadata import inspect
from lqmf.hub.translate import retry_after
from lqmf.model_files import describe
from lqmf.model_files.refs import DEMO_FOLDER
from lqmf.records import ModelInfo, ModelRef
from tests.hub.conftest import QUICK
from tests.hub.models import sharded_demo, small_model, weights
from tests.hub.server import LocalHub

ORG = ModelRef("hub", "org/name")


def look(client: HubClient, ref: ModelRef = ORG) -> ModelInfo:
    return asyncio.run(inspect(ref, hub=client))


def test_a_hub_model_and_the_same_folder_are_described_alike(hub: LocalHub, client: HubClient) -> None:
    told = {"parameters": {"BF16": 7344384}, "total": 7344384}
    hub.add_repo("org/name", DEMO_FOLDER, card={"license": "mit"}, safetensors=told)
    remote = look(client)
    local = look(client, ModelRef("local", "demo", path=str(DEMO_FOLDER)))
    assert (remote.architecture, remote.dtype, remote.parameters) == ("LlamaForCausalLM", "BF16", 7344384)
    assert (remote.weights_bytes, remote.context_length, remote.vocabulary) == (14696792, 2048, 4096)
    assert (remote.has_tokenizer, remote.has_chat_template, remote.access) == (True, True, "open")
    assert remote.license == "mit"
    for name in ("architecture", "dtype", "parameters", "weights_bytes", "context_length", "vocabulary", "config"):
        assert getattr(local, name) == getattr(remote, name)
    assert [f.path for f in local.files] == [f.path for f in remote.files]


def test_no_weights_are_fetched_to_describe_a_model(hub: LocalHub, client: HubClient) -> None:
    hub.add_repo("org/name", DEMO_FOLDER, safetensors={"parameters": {"BF16": 7344384}, "total": 7344384})
    assert look(client).parameters == 7344384
    assert not any("safetensors" in request.path for request in hub.requests)


def test_shards_are_chosen_whole_with_their_index(hub: LocalHub, client: HubClient, tmp_path: Path) -> None:
    folder = sharded_demo(tmp_path / "sharded")
    hub.add_repo("org/name", folder)
    for info in (look(client), look(client, ModelRef("local", "x", path=str(folder)))):
        assert [f.path for f in info.files if "safetensors" in f.path] == [
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            "model.safetensors.index.json",
        ]
        assert describe.counted(info, folder).parameters == 7344384


def test_only_what_a_quantization_needs_is_chosen(hub: LocalHub, client: HubClient) -> None:
    unwanted = {
        "original/consolidated.00.pth": b"x", "original/model.safetensors": b"x", "onnx/model.onnx": b"x",
        "consolidated.safetensors": weights(9), "model.fp16.safetensors": weights(9), "model-q4.gguf": b"x",
        "pytorch_model.bin": b"x", "tf_model.h5": b"x", "flax_model.msgpack": b"x", "modeling_evil.py": b"x",
        "adapter_model.safetensors": weights(9), "training_args.bin": b"x",
    }  # fmt: skip
    hub.add_repo("org/name", {**small_model(), **unwanted, "LICENSE.txt": b"MIT", "merges.txt": b""})
    assert [f.path for f in look(client).files] == [
        "LICENSE.txt", "config.json", "merges.txt", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


def test_a_missing_shard_is_named(hub: LocalHub, client: HubClient, tmp_path: Path) -> None:
    folder = sharded_demo(tmp_path / "sharded")
    (folder / "model-00002-of-00003.safetensors").unlink()
    hub.add_repo("org/name", folder)
    for ref in (ORG, ModelRef("local", "x", path=str(folder))):
        with pytest.raises(IncompleteModel, match="model-00002-of-00003"):
            look(client, ref)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(IncompleteModel, match="model-00002-of-00003"):
        look(client, ModelRef("local", "x", path=str(folder)))


def test_pickled_weights_are_reported_and_none_is_not_mistaken_for_them(hub: LocalHub, client: HubClient) -> None:
    files = small_model()
    del files["model.safetensors"]
    hub.add_repo("org/name", {**files, "training_args.bin": b"x"})
    assert look(client).weights_format == "none"
    hub.add_repo("org/name", {**files, "pytorch_model.bin": b"x"})
    assert look(client).weights_format == "pickle"


@pytest.mark.parametrize("where", ["config.json", "tokenizer_config.json"])
def test_a_wish_for_remote_code_is_told(hub: LocalHub, client: HubClient, where: str) -> None:
    files = small_model()
    files[where] = json.dumps({**json.loads(files[where]), "auto_map": {"AutoModel": "evil.Model"}}).encode()
    hub.add_repo("org/name", files)
    assert look(client).wants_remote_code


@pytest.mark.parametrize(
    "path",
    ["../evil.json", "a/../../evil", "/etc/passwd", "a\\..\\evil", "C:/evil", "a//b", "./x", "x\x1b[2J", "x\n", ""],
)
def test_a_path_that_leads_out_condemns_the_repository(hub: LocalHub, client: HubClient, path: str) -> None:
    hub.add_repo("org/name", small_model(), siblings=[{"rfilename": "config.json"}, {"rfilename": path}])
    with pytest.raises(UnsafeFormat) as caught:
        look(client)
    assert str(caught.value).isprintable()


def test_an_index_that_names_a_path_outside_is_refused(hub: LocalHub, client: HubClient) -> None:
    index = json.dumps({"weight_map": {"a": "../../x.safetensors"}}).encode()
    hub.add_repo("org/name", {**small_model(), "model.safetensors.index.json": index})
    with pytest.raises(UnsafeFormat):
        look(client)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_symbolic_link_in_a_repository_is_refused(
    hub: LocalHub, client: HubClient, tmp_path: Path, name: str
) -> None:
    for path, body in small_model().items():
        (tmp_path / path).write_bytes(body)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/etc/passwd")
    hub.add_repo("org/name", tmp_path)
    with pytest.raises(UnsafeFormat, match="symbolic link"):
        look(client)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_link_out_of_a_users_own_folder_is_followed_and_one_out_of_a_snapshot_refused(
    client: HubClient, tmp_path: Path, name: str
) -> None:
    folder, outside = tmp_path / "snapshots" / "model", tmp_path / "outside"
    folder.mkdir(parents=True)
    for path, body in small_model().items():
        (folder / path).write_bytes(body)
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(UnsafeFormat, match="leads out"):
        look(client, ModelRef("local", "model", path=str(folder)))
    own = folder.rename(tmp_path / "own")
    assert look(client, ModelRef("local", "model", path=str(own))).weights_bytes


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"not a safetensors file at all", UnsafeFormat),
        (b"", UnsafeFormat),
        (b"\x80\x02ccodecs\nencode\n" * 10, UnsafeFormat),  # a pickle under another name
        (weights(100)[:-50], IncompleteModel),
        (b"\xff" * 16, UnsafeFormat),
    ],
)
def test_weights_that_are_no_safetensors_are_refused(client: HubClient, tmp_path: Path, body: bytes, error) -> None:
    for path, content in small_model().items():
        (tmp_path / path).write_bytes(content)
    (tmp_path / "model.safetensors").write_bytes(body)
    with pytest.raises(error):
        look(client, ModelRef("local", "model", path=str(tmp_path)))


def test_a_folder_without_a_config_is_incomplete(client: HubClient, tmp_path: Path) -> None:
    with pytest.raises(IncompleteModel, match=r"config\.json"):
        look(client, ModelRef("local", "model", path=str(tmp_path)))


ADAPTER = b'{"base_model_name_or_path": "org/base"}'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("files", "error", "says", "way"),
    [
        (
            {"adapter_config.json": ADAPTER, "adapter_model.safetensors": b""},
            UnsupportedModel,
            "org/base",
            "--adapter",
        ),
        ({"config.json": b"{}", "adapter_config.json": ADAPTER}, UnsupportedModel, "org/base", "--adapter"),
        ({"model-Q4_K_M.gguf": b"GGUF"}, UnsupportedModel, "GGUF that is made already", "lqmf test"),
        ({"config.json": b"{}", "m.gguf": b"GGUF"}, UnsupportedModel, "GGUF that is made already", "m.gguf"),
        ({"config.json": b"\xef\xbb\xbf{}"}, IncompleteModel, "byte order mark", "sed"),
        ({"config.json": b"{}", "tokenizer.json": POINTER}, IncompleteModel, "git-lfs", "git lfs pull"),
        ({"config.json": POINTER}, IncompleteModel, "git-lfs", "git lfs pull"),
        ({"config.json": b"{}", "model.safetensors": POINTER}, IncompleteModel, "git-lfs", "git lfs pull"),
    ],
)
def test_what_is_no_models_folder_says_what_it_is_and_what_to_do(
    client: HubClient, tmp_path: Path, files: dict[str, bytes], error: type[LqmfError], says: str, way: str
) -> None:
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    with pytest.raises(error, match=says) as caught:
        look(client, ModelRef("local", "model", path=str(tmp_path)))
    assert way in caught.value.remedy


@pytest.mark.parametrize(
    ("files", "card", "says", "way"),
    [
        ({"m-Q4_K_M.gguf": b"GGUF"}, {"base_model": "org/base"}, "GGUF that is made already", "quantize org/base"),
        ({"m-Q4_K_M.gguf": b"GGUF"}, {"base_model": ["org/base"]}, "GGUF that is made already", "quantize org/base"),
        ({"m-Q4_K_M.gguf": b"GGUF"}, {}, "GGUF that is made already", "made from"),
        ({"m.gguf": b"GGUF"}, {"base_model": "$(rm -rf ~)"}, "GGUF that is made already", "made from"),
        (
            {"adapter_config.json": ADAPTER, "adapter_model.safetensors": b"x"},
            {},
            "adapter of org/base",
            "hf download org/name --local-dir ./name`, then `lqmf quantize org/base --adapter ./name",
        ),
    ],
)
def test_a_repository_that_holds_no_model_says_what_it_is_and_what_to_do(
    hub: LocalHub, client: HubClient, files: dict[str, bytes], card: dict[str, Any], says: str, way: str
) -> None:
    hub.add_repo("org/name", files, card=card)
    with pytest.raises(UnsupportedModel, match=says) as caught:
        look(client)
    assert way in caught.value.remedy


def test_a_hub_model_without_a_config_is_incomplete(hub: LocalHub, client: HubClient) -> None:
    files = small_model()
    del files["config.json"]
    hub.add_repo("org/name", files)
    with pytest.raises(IncompleteModel, match=r"config\.json"):
        look(client)


def test_a_mirror_that_lists_no_sizes_is_asked_for_its_tree_page_by_page(hub: LocalHub, client: HubClient) -> None:
    files = small_model()
    hub.add_repo("org/name", files, siblings=[{"rfilename": path} for path in files])
    info = look(client)
    assert {f.path: f.size_bytes for f in info.files} == {p: len(b) for p, b in files.items() if p != "README.md"}
    assert all(f.sha256 or f.git_oid for f in info.files)
    assert sum("/tree/" in request.path for request in hub.requests) == 3


def test_a_pull_request_is_a_revision(hub: LocalHub, client: HubClient) -> None:
    """Where a conversion to safetensors often waits."""
    hub.add_repo("org/name", small_model(9))
    pull = hub.add_repo("org/name", small_model(), revision="refs/pr/1")
    assert look(client, ModelRef("hub", "org/name", revision="refs/pr/1")).commit == pull.commit


def test_control_characters_in_a_config_are_spelled_out(hub: LocalHub, client: HubClient) -> None:
    hub.add_repo(
        "org/name", small_model(architectures=["Llama\x1b[2J"], model_type="a\x07"), card={"license": "\x1b]0;"}
    )
    info = look(client)
    assert f"{info.architecture}{info.model_type}{info.license}".isprintable()


def test_nested_text_configs_are_read(hub: LocalHub, client: HubClient) -> None:
    text = {"max_position_embeddings": 999, "vocab_size": 77, "torch_dtype": "float16"}
    config = json.dumps({"architectures": ["X"], "text_config": text}).encode()
    hub.add_repo("org/name", {**small_model(), "config.json": config})
    info = look(client)
    assert (info.context_length, info.vocabulary) == (999, 77)


# ------------------------------------------------------------ access and errors


def token_client(hub: LocalHub, token: str) -> HubClient:
    return HubClient(endpoint=hub.url, token_provider=lambda: token, retry=QUICK)


def test_a_gated_model_is_described_and_granted_once_the_licence_is_accepted(hub: LocalHub, client: HubClient) -> None:
    hub.add_repo("org/name", DEMO_FOLDER, gated=True)
    assert look(client).access == "gated"
    assert look(client).architecture == "LlamaForCausalLM"
    assert look(token_client(hub, "hf_validtoken")).access == "gated"
    hub.granted.add("ada")
    assert look(token_client(hub, "hf_validtoken")).access == "granted"


def test_a_private_model_is_hidden_without_the_right_token(hub: LocalHub, client: HubClient) -> None:
    hub.add_repo("org/name", small_model(), private=True)
    with pytest.raises(Unauthorized) as caught:
        look(client)
    assert "lqmf hf login" in caught.value.remedy
    with pytest.raises(ModelNotFound):
        look(token_client(hub, "hf_validtoken"))
    hub.granted.add("ada")
    assert look(token_client(hub, "hf_validtoken")).access == "granted"


def test_a_wrong_token_is_unauthorized_and_never_shown(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add_repo("org/name", small_model())
    with pytest.raises(Unauthorized, match="does not accept your token") as caught:
        look(token_client(hub, "hf_wrongtoken123"))
    assert "unset" not in caught.value.remedy
    monkeypatch.setenv("HF_TOKEN", "hf_wrongtoken123")
    with pytest.raises(Unauthorized, match="the token in HF_TOKEN") as named:
        look(token_client(hub, "hf_wrongtoken123"))
    assert "unset HF_TOKEN" in named.value.remedy
    assert "wrongtoken" not in repr(caught.value) + str(caught.value.to_json()) + repr(token_client(hub, "hf_wrong1"))


def test_no_such_model_and_no_such_revision_differ(hub: LocalHub) -> None:
    hub.add_repo("org/name", small_model())
    client = token_client(hub, "hf_validtoken")
    with pytest.raises(ModelNotFound, match="no model org/other"):
        look(client, ModelRef("hub", "org/other"))
    with pytest.raises(ModelNotFound, match="no revision 'v9'"):
        look(client, ModelRef("hub", "org/name", revision="v9"))


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (401, {}, Unauthorized),
        (403, {"x_error_code": "GatedRepo"}, GatedModel),
        (403, {}, GatedModel),
        (404, {"x_error_code": "RepoNotFound"}, ModelNotFound),
        (429, {"retry_after": "0"}, RateLimited),
        (500, {}, HubUnavailable),
        (503, {}, HubUnavailable),
    ],
)
def test_each_status_is_its_own_error(hub: LocalHub, client: HubClient, status: int, headers: dict, error) -> None:
    hub.add_repo("org/name", small_model())
    times = 1 + QUICK.max_retries if error.transient else 1
    hub.fail("/api/models/*", "status", status=status, headers=headers, times=times)
    with pytest.raises(error) as caught:
        look(client)
    assert caught.value.remedy
    assert "lqmf hf login" in caught.value.remedy or error not in (Unauthorized, GatedModel)


def test_what_heals_is_tried_again(hub: LocalHub, client: HubClient) -> None:
    hub.add_repo("org/name", small_model())
    hub.fail("/api/models/*", "status", status=502, times=2)
    assert look(client).architecture == "LlamaForCausalLM"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "3600"}, 3600),
        ({"ratelimit": '"api";r=0;t=1234'}, 1234),
        ({"ratelimit": '"api";r=7;t=1234'}, None),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_from_either_header(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after({key.replace("_", "-"): value for key, value in headers.items()}) == seconds


def test_a_retry_after_may_be_a_date() -> None:
    assert (retry_after({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}) or 0) > 1e9
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_a_long_retry_after_is_handed_on_at_once_with_its_seconds(hub: LocalHub, client: HubClient) -> None:
    hub.add_repo("org/name", small_model())
    hub.fail("/api/models/*", "status", status=429, headers={"retry_after": "3600"})
    with pytest.raises(RateLimited, match="429") as caught:
        look(client)
    assert caught.value.retry_after_seconds == 3600
    assert "3600 seconds" in caught.value.remedy


def test_no_network_is_offline_at_once(client: HubClient) -> None:
    with pytest.raises(Offline, match="cannot be reached"):
        look(HubClient(endpoint="http://127.0.0.1:9", retry=QUICK))


def test_hf_hub_offline_is_obeyed_when_it_is_set_not_when_imported(
    hub: LocalHub, client: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/name", small_model())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Offline, match="HF_HUB_OFFLINE is set, and org/name is not on this machine"):
        look(client)
    assert hub.requests == []


def test_hf_endpoint_is_read_when_it_is_needed(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add_repo("org/name", small_model())
    monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
    assert look(HubClient(token_provider=lambda: None)).commit


def test_an_answer_that_is_cut_is_a_broken_connection(hub: LocalHub, client: HubClient) -> None:
    hub.add_repo("org/name", small_model())
    hub.fail("/api/models/*", "cut", times=1 + QUICK.max_retries)
    with pytest.raises(ConnectionBroken):
        look(client)


def test_an_answer_that_is_no_hubs_is_told_as_such(hub: LocalHub, client: HubClient) -> None:
    hub.add_repo("org/name", small_model())
    hub.fail("/api/models/*", "garbage")
    with pytest.raises(HubUnavailable, match="not what the Hub answers"):
        look(client)


def test_a_config_with_other_bytes_than_listed_is_an_integrity_error(hub: LocalHub, client: HubClient) -> None:
    hub.add_repo("org/name", small_model())
    hub.fail("*/config.json", "corrupt")
    with pytest.raises(IntegrityError, match=r"config\.json"):
        look(client)
