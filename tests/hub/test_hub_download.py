"""Fetching: whole, verified, in one rename; used in place where it already lies; never asked for twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lqmf.errors import GatedModel, IncompleteModel, Offline, UnsafeFormat, UsageError
from lqmf.events import Notice, Progress
from lqmf.hub import snapshots, verify
from lqmf.hub.client import HubClient
from lqmf.hub.download import (
    TransferOptions,
    arrivals,
    clean_orphans,
    fetch,
    find_local,
    inspect_or_find,
    missing_bytes,
)
from lqmf.hub.metadata import inspect
from lqmf.model_files.refs import DEMO_FOLDER
from lqmf.records import ModelInfo, ModelRef, RemoteFile
from tests.hub.conftest import QUICK
from tests.hub.models import sharded_demo, small_model
from tests.hub.server import LocalHub, Request, most_at_once

ORG = ModelRef("hub", "org/name")


def look(client: HubClient, ref: ModelRef = ORG) -> ModelInfo:
    return asyncio.run(inspect(ref, hub=client))


def get(info: ModelInfo, folder: Path, client: HubClient, options: TransferOptions | None = None, emit=None) -> Path:
    return asyncio.run(fetch(info, folder, hub=client, emit=emit or (lambda _: None), options=options))


def same_bytes(fetched: Path, source: Path) -> bool:
    return all(
        (source / path.name).read_bytes() == path.read_bytes() for path in fetched.iterdir() if path.name[0] != "."
    )


def test_a_sharded_model_arrives_whole_with_its_hashes(
    hub: LocalHub, client: HubClient, models_dir: Path, tmp_path: Path
) -> None:
    source = sharded_demo(tmp_path / "sharded")
    hub.add_repo("org/name", source)
    info, events = look(client), []
    assert missing_bytes(info, models_dir) == sum(f.size_bytes for f in info.files)
    folder = get(info, models_dir, client, TransferOptions(chunk_bytes=1 << 20), events.append)
    assert folder == models_dir / "org--name" / str(info.commit)
    assert {p.name for p in folder.iterdir()} == {f.path for f in info.files} | {".lqmf.json"}
    assert same_bytes(folder, source)
    for path, sha256 in snapshots.hashes(folder).items():
        assert hashlib.sha256((source / path).read_bytes()).hexdigest() == sha256
    assert missing_bytes(info, models_dir) == 0
    assert not list(folder.parent.glob(".partial-*"))
    progress = [e for e in events if isinstance(e, Progress)]
    assert [p.done for p in progress] == sorted(p.done for p in progress)
    assert progress[-1].done == progress[-1].total == sum(f.size_bytes for f in info.files)


def test_the_second_time_nothing_is_asked_of_the_hub(hub: LocalHub, client: HubClient, models_dir: Path) -> None:
    hub.add_repo("org/name", small_model())
    info = look(client)
    first = get(info, models_dir, client)
    hub.requests.clear()
    assert get(info, models_dir, client) == first
    assert hub.requests == []


def test_a_fetched_model_needs_no_network_any_more(
    hub: LocalHub, client: HubClient, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/name", small_model())
    assert find_local(ORG, models_dir) is None
    info = look(client)
    folder = get(info, models_dir, client)
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for ref in (ORG, ModelRef("hub", "org/name", revision="main"), ModelRef("hub", "org/name", revision=info.commit)):
        found = asyncio.run(inspect_or_find(ref, models_dir, hub=client))
        assert (found.commit, found.files, found.parameters) == (info.commit, info.files, info.parameters)
        assert get(found, models_dir, client) == folder
    with pytest.raises(Offline):
        asyncio.run(inspect_or_find(ModelRef("hub", "org/name", revision="v2"), models_dir, hub=client))
    assert hub.requests == []


def test_main_means_the_commit_that_was_fetched_last(hub: LocalHub, client: HubClient, models_dir: Path) -> None:
    hub.add_repo("org/name", small_model())
    old = look(client)
    get(old, models_dir, client)
    hub.add_repo("org/name", small_model(300_000))
    new = look(client)
    assert old.commit != new.commit
    assert find_local(ORG, models_dir).commit == old.commit  # type: ignore[union-attr]
    get(new, models_dir, client)
    assert find_local(ORG, models_dir).commit == new.commit  # type: ignore[union-attr]


def test_a_commit_stays_pinned_while_the_branch_moves(hub: LocalHub, client: HubClient, models_dir: Path) -> None:
    first = small_model()
    hub.add_repo("org/name", first)
    info = look(client)
    hub.add_repo("org/name", small_model(300_000))
    folder = get(info, models_dir, client)
    assert (folder / "model.safetensors").read_bytes() == first["model.safetensors"]


def test_a_snapshot_with_a_file_lost_or_cut_is_not_whole(hub: LocalHub, client: HubClient, models_dir: Path) -> None:
    hub.add_repo("org/name", small_model())
    info = look(client)
    folder = get(info, models_dir, client)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    assert find_local(ORG, models_dir) is None
    assert missing_bytes(info, models_dir) > 0
    assert (get(info, models_dir, client) / "model.safetensors").stat().st_size > 100


def test_a_snapshot_without_its_marker_is_not_taken_for_one(hub: LocalHub, client: HubClient, models_dir: Path) -> None:
    hub.add_repo("org/name", small_model())
    info = look(client)
    folder = get(info, models_dir, client)
    (folder / ".lqmf.json").unlink()
    assert find_local(ORG, models_dir) is None
    assert snapshots.present(info, models_dir) is None
    (folder / ".lqmf.json").write_text("{")
    assert find_local(ORG, models_dir) is None


def test_the_demo_and_a_folder_are_used_in_place(client: HubClient, models_dir: Path) -> None:
    for ref in (ModelRef("demo", "demo"), ModelRef("local", "x", path=str(DEMO_FOLDER))):
        info = look(client, ref)
        assert missing_bytes(info, models_dir) == 0
        assert get(info, models_dir, client) == DEMO_FOLDER
        assert find_local(ref, models_dir) == info
    assert list(models_dir.iterdir()) == []


def into_hf_cache(hub: LocalHub, home: Path) -> str:
    """What `huggingface_hub.snapshot_download` leaves: the real client against the local hub."""
    from huggingface_hub import snapshot_download

    return snapshot_download("org/name", cache_dir=home / "hub", endpoint=hub.url, token=False)


def test_a_snapshot_in_the_hugging_face_cache_is_used_where_it_is(
    hub: LocalHub, client: HubClient, models_dir: Path, hf_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/name", small_model())
    cached = into_hf_cache(hub, hf_home)
    info = look(client)
    hub.requests.clear()
    assert missing_bytes(info, models_dir) == 0
    assert get(info, models_dir, client) == Path(cached)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = asyncio.run(inspect_or_find(ORG, models_dir, hub=client))
    assert found.commit == info.commit
    assert {f.path: f.sha256 for f in found.files} == {f.path: f.sha256 for f in info.files}
    assert get(found, models_dir, client) == Path(cached)
    assert hub.requests == []
    assert list(models_dir.iterdir()) == []


@pytest.mark.parametrize("harm", ["lost", "cut", "other"])
def test_a_damaged_cache_is_not_used(
    hub: LocalHub, client: HubClient, models_dir: Path, hf_home: Path, harm: str
) -> None:
    files = small_model()
    hub.add_repo("org/name", files)
    weights = Path(into_hf_cache(hub, hf_home)) / "model.safetensors"
    info = look(client)
    if harm == "lost":
        weights.unlink()
    elif harm == "cut":
        os.truncate(weights.resolve(), 1000)
    else:
        other = weights.resolve().with_name("0" * 64)
        other.write_bytes(weights.read_bytes())
        weights.unlink()
        weights.symlink_to(other)
    folder = get(info, models_dir, client)
    assert folder.is_relative_to(models_dir)
    assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_pickled_weights_are_refused_and_never_fetched(hub: LocalHub, client: HubClient, models_dir: Path) -> None:
    files = small_model()
    del files["model.safetensors"]
    hub.add_repo("org/name", {**files, "pytorch_model.bin": b"cos\nsystem\n(S'touch /tmp/pwned'\ntR." * 99})
    with pytest.raises(UnsafeFormat, match="never does") as caught:
        get(look(client), models_dir, client)
    assert "safetensors/convert" in caught.value.remedy
    assert not any("pytorch_model" in request.path for request in hub.requests)


def test_no_weights_at_all_is_incomplete(hub: LocalHub, client: HubClient, models_dir: Path) -> None:
    files = small_model()
    del files["model.safetensors"]
    hub.add_repo("org/name", files)
    with pytest.raises(IncompleteModel):
        get(look(client), models_dir, client)


def test_remote_code_is_neither_fetched_nor_run(
    hub: LocalHub, client: HubClient, models_dir: Path, tmp_path: Path
) -> None:
    proof = tmp_path / "ran"
    evil = f"open({str(proof)!r}, 'w').close()\nclass Model: ...\n".encode()
    auto_map = {"AutoConfig": "evil.Model", "AutoModelForCausalLM": "evil.Model"}
    hub.add_repo("org/name", {**small_model(auto_map=auto_map), "evil.py": evil, "__init__.py": evil})
    info = look(client)
    folder = get(info, models_dir, client)
    assert info.wants_remote_code
    assert not list(folder.glob("*.py"))
    assert not any(request.path.endswith(".py") for request in hub.requests)
    assert not proof.exists()


def test_a_link_among_the_small_files_is_refused_and_nothing_is_published(
    hub: LocalHub, client: HubClient, models_dir: Path, tmp_path: Path
) -> None:
    for path, body in small_model().items():
        (tmp_path / path).write_bytes(body)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").symlink_to("../../../../etc/passwd")
    hub.add_repo("org/name", tmp_path)
    with pytest.raises(UnsafeFormat, match=r"tokenizer\.json"):
        get(look(client), models_dir, client)
    assert find_local(ORG, models_dir) is None


def test_a_gated_model_is_refused_until_it_is_granted(hub: LocalHub, client: HubClient, models_dir: Path) -> None:
    hub.add_repo("org/name", small_model(), gated=True)
    with pytest.raises(GatedModel) as caught:
        get(look(client), models_dir, client)
    assert f"{hub.url}/org/name" in caught.value.remedy
    assert "lqmf hf login" in caught.value.remedy
    hub.granted.add("ada")
    ada = HubClient(endpoint=hub.url, token_provider=lambda: "hf_validtoken", retry=QUICK)
    assert (get(look(ada), models_dir, ada) / "model.safetensors").exists()


def test_the_token_goes_to_the_hub_and_to_no_other_host(hub: LocalHub, models_dir: Path) -> None:
    hub.add_repo("org/name", small_model())
    ada = HubClient(endpoint=hub.url, token_provider=lambda: "hf_validtoken", retry=QUICK)
    get(look(ada), models_dir, ada)
    assert {r.authorized for r in hub.requests if r.cdn} == {False}
    assert {r.authorized for r in hub.requests if not r.cdn} == {True}
    assert "hf_validtoken" not in "".join(p.read_text() for p in models_dir.rglob("*.json"))


def test_what_is_offline_and_not_here_says_what_is_missing(
    hub: LocalHub, client: HubClient, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/name", small_model())
    info = look(client)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Offline, match="org/name is not on this machine"):
        get(info, models_dir, client)


def test_old_partials_of_other_commits_are_removed_and_fresh_ones_kept(
    hub: LocalHub, client: HubClient, models_dir: Path
) -> None:
    def leave(name: str, days: int) -> None:
        folder = models_dir / name
        folder.mkdir(parents=True)
        (folder / "x.part").write_bytes(b"12345")
        for path in (folder / "x.part", folder):
            os.utime(path, (time.time() - days * 86400,) * 2)

    for name, days in (("org--name/.partial-old", 9), ("org--name/.partial-new", 1), ("org--other/.partial-old", 9)):
        leave(name, days)
    hub.add_repo("org/name", small_model())
    get(look(client), models_dir, client)
    assert sorted(p.name for p in (models_dir / "org--name").glob(".partial*")) == [".partial-new"]
    assert not (models_dir / "org--other" / ".partial-old").exists(), "any download removes what others left"
    leave("org--other/.partial-old", 9)
    assert clean_orphans(models_dir) == 5
    assert not (models_dir / "org--other" / ".partial-old").exists()
    assert (models_dir / "org--name" / ".partial-new").exists()


def test_two_processes_that_want_the_same_model_fetch_it_once(
    hub: LocalHub, client: HubClient, models_dir: Path
) -> None:
    files = small_model(2_000_000)
    hub.add_repo("org/name", files, safetensors={"parameters": {"BF16": 2_000_000}, "total": 2_000_000})
    hub.fail("/cdn/*", "slow", bytes_per_second=4_000_000)
    code = """
import asyncio, json, sys
from pathlib import Path
from lqmf.hub.client import HubClient
from lqmf.hub.download import fetch
from lqmf.hub.metadata import inspect
from lqmf.records import ModelRef
async def main():
    hub = HubClient(endpoint=sys.argv[1], token_provider=lambda: None)
    info = await inspect(ModelRef("hub", "org/name"), hub=hub)
    print(await fetch(info, Path(sys.argv[2]), hub=hub, emit=lambda event: None))
asyncio.run(main())
"""
    command = [sys.executable, "-c", code, hub.url, str(models_dir)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {child.communicate(timeout=60)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0]
    assert len(folders) == 1
    assert (Path(folders.pop()) / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert sum(sent for _, _, sent in hub.ranges("/cdn/*")) == len(files["model.safetensors"])


def test_weights_that_another_commit_or_the_cache_already_has_are_not_fetched_again(
    hub: LocalHub, client: HubClient, models_dir: Path, hf_home: Path
) -> None:
    hub.add_repo("org/name", small_model())
    get(look(client), models_dir, client)
    files = {**small_model(), "LICENSE": b"new"}
    hub.add_repo("org/name", files)
    info = look(client)
    hub.requests.clear()
    assert missing_bytes(info, models_dir) < 1000
    assert (get(info, models_dir, client) / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert hub.ranges("/cdn/*") == []
    shutil.rmtree(models_dir / "org--name")
    into_hf_cache(hub, hf_home)
    hub.add_repo("org/name", {**files, "LICENSE": b"newer"})
    info = look(client)
    hub.requests.clear()
    folder = get(info, models_dir, client)
    assert folder.is_relative_to(models_dir)
    assert hub.ranges("/cdn/*") == []
    assert find_local(ORG, models_dir).commit == info.commit  # type: ignore[union-attr]


def test_a_rotten_copy_here_is_noticed_and_the_right_bytes_are_fetched(
    hub: LocalHub, client: HubClient, models_dir: Path
) -> None:
    files = small_model()
    hub.add_repo("org/name", files)
    weights = get(look(client), models_dir, client) / "model.safetensors"
    weights.write_bytes(bytes(weights.stat().st_size))
    hub.add_repo("org/name", {**files, "LICENSE": b"new"})
    folder = get(look(client), models_dir, client)
    assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]


@pytest.mark.parametrize(
    ("model", "commit"), [("../../etc", "a" * 40), ("org/name", None), ("org/name", "../x"), ("org/..", "a" * 40)]
)
def test_a_record_from_elsewhere_cannot_lead_out_of_the_models_folder(
    client: HubClient, models_dir: Path, model: str, commit: str | None
) -> None:
    """A plan or a manifest may have been written by somebody else."""
    info = ModelInfo(ModelRef("hub", model), commit, None, None, {}, (RemoteFile("config.json", 1),), 0)
    with pytest.raises(UsageError):
        get(info, models_dir, client)
    assert list(models_dir.iterdir()) == []


@pytest.mark.parametrize("revision", ["..", "../../x", "refs/../../x", ""])
def test_a_revision_that_is_a_path_finds_nothing(models_dir: Path, revision: str) -> None:
    (models_dir / ".lqmf.json").write_text("{}")
    assert find_local(ModelRef("hub", "org/name", revision=revision), models_dir) is None


def test_importing_the_hub_imports_no_client_library() -> None:
    code = "import sys, lqmf.hub.download, lqmf.hub.auth as a; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"huggingface_hub", "httpx", "httpx2", "tenacity", "filelock", "torch", "transformers"} & set(modules)


def test_a_renamed_repository_is_followed(hub: LocalHub, client: HubClient, models_dir: Path) -> None:
    """The Hub answers an old name with a redirect to the new one; the token goes along, as it stays on the Hub."""
    hub.add_repo("org/new", small_model())
    hub.renamed["org/name"] = "org/new"
    folder = get(look(client), models_dir, client)
    assert (folder / "model.safetensors").exists()
    assert json.loads((folder / ".lqmf.json").read_text())["info"]["ref"]["id"] == "org/name"


def test_two_downloads_in_one_process_wait_for_each_other(hub: LocalHub, client: HubClient, models_dir: Path) -> None:
    hub.add_repo("org/name", small_model())
    info, events = look(client), []
    hub.requests.clear()

    async def both() -> list[Path]:
        calls = [fetch(info, models_dir, hub=client, emit=events.append) for _ in range(2)]
        return list(await asyncio.gather(*calls))

    first, second = asyncio.run(both())
    assert first == second
    assert len(hub.ranges("/cdn/*")) == 1
    assert any(isinstance(event, Notice) and "waiting for it" in event.text for event in events)


# ------------------------------------------------------------ in order


@pytest.fixture
def sharded(hub: LocalHub, client: HubClient, tmp_path: Path) -> ModelInfo:
    hub.add_repo("org/name", sharded_demo(tmp_path / "sharded"))
    info = look(client)
    hub.requests.clear()
    return info


def sent(hub: LocalHub, part: str) -> list[Request]:
    """The answered ranges of the files whose name holds `part`."""
    return [r for r in hub.requests if r.method == "GET" and part in r.path]


def test_the_small_files_come_first_and_then_one_shard_after_the_other(
    hub: LocalHub, sharded: ModelInfo, models_dir: Path, client: HubClient
) -> None:
    """Also when the first of them are answered late. One connection: several would reach the server in any order."""
    for late in ("config.json", "model-00001-of-00003.safetensors"):
        hub.fail(f"*/{late}", "status", method="HEAD", status=503)
    get(sharded, models_dir, client, TransferOptions(connections=1, chunk_bytes=64 << 20, retry=QUICK))
    names = [Path(r.path).name for r in sent(hub, "")]
    shards = [f.path for f in snapshots.shards(sharded)]
    in_turn = [name for name in names if name in shards]
    assert set(names[: -len(in_turn)]) == {f.path for f in sharded.files} - set(shards)
    assert in_turn == sorted(in_turn)
    assert set(in_turn) == set(shards)


def test_a_shard_has_every_connection_and_the_next_takes_what_it_leaves(
    hub: LocalHub, sharded: ModelInfo, models_dir: Path, client: HubClient
) -> None:
    first, second = (f.path for f in snapshots.shards(sharded)[:2])
    chunk = max(f.size_bytes for f in snapshots.shards(sharded)) // 9 + 1  # the last of nine leaves three free
    hub.fail("/cdn/*00003.safetensors", "slow", times=99, bytes_per_second=5_000_000)
    get(sharded, models_dir, client, TransferOptions(connections=4, chunk_bytes=chunk))
    hub._faults.clear()
    one, two = sent(hub, first), sent(hub, second)
    assert most_at_once(one) >= 4
    assert max(r.began for r in one) < min(r.began for r in two) < max(r.ended for r in one)


def test_shards_of_one_range_each_come_as_many_at_once_as_there_are_connections(
    hub: LocalHub, sharded: ModelInfo, models_dir: Path, client: HubClient
) -> None:
    hub.fail("/cdn/*00003.safetensors", "slow", times=3, bytes_per_second=8_000_000)
    get(sharded, models_dir, client, TransferOptions(connections=3))
    assert most_at_once(sent(hub, "/cdn/")) >= 3


def test_a_verified_shard_can_be_read_while_the_next_one_arrives(
    hub: LocalHub, sharded: ModelInfo, models_dir: Path, client: HubClient, tmp_path: Path
) -> None:
    first, _, last = (f.path for f in snapshots.shards(sharded))
    partial, final = arrivals(sharded, models_dir)
    hub.fail("/cdn/*00003.safetensors", "slow", times=99, bytes_per_second=5_000_000)

    async def read_on_the_way() -> tuple[bytes, bool]:
        options = TransferOptions(connections=2, chunk_bytes=1 << 20)
        fetching = asyncio.create_task(fetch(sharded, models_dir, hub=client, emit=lambda _: None, options=options))
        while not (partial / first).exists():
            await asyncio.sleep(0.01)
        seen = (partial / first).read_bytes(), (partial / last).exists()
        assert await fetching == final
        return seen

    assert asyncio.run(read_on_the_way()) == ((tmp_path / "sharded" / first).read_bytes(), False)
    hub._faults.clear()
    assert not partial.exists()
    assert arrivals(sharded, models_dir) == (final,)


def test_the_next_shard_is_asked_for_while_one_is_being_hashed(
    hub: LocalHub, sharded: ModelInfo, models_dir: Path, client: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (f.path for f in snapshots.shards(sharded)[:2])
    digest, met = verify.digest, []

    def slow_digest(path: Path, file: RemoteFile, stop: threading.Event) -> tuple[str, bool]:
        deadline = time.monotonic() + 20
        while file.path == first and not sent(hub, second) and time.monotonic() < deadline:
            time.sleep(0.01)
        met.append((file.path, bool(sent(hub, second))))
        return digest(path, file, stop)

    monkeypatch.setattr(verify, "digest", slow_digest)
    get(sharded, models_dir, client, TransferOptions(connections=1))
    assert (first, True) in met


def test_a_copy_from_elsewhere_gets_its_name_when_it_is_verified(
    hub: LocalHub, client: HubClient, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/name", small_model())
    get(look(client), models_dir, client)
    hub.add_repo("org/name", {**small_model(), "LICENSE": b"new"})
    info, digest, named = look(client), verify.digest, []

    def watched(path: Path, file: RemoteFile, stop: threading.Event) -> tuple[str, bool]:
        named.append((arrivals(info, models_dir)[0] / file.path).exists())
        return digest(path, file, stop)

    monkeypatch.setattr(verify, "digest", watched)
    get(info, models_dir, client)
    assert named == [False] * len(info.files)


def test_what_the_converter_reads_from_folders_below_comes_too(
    hub: LocalHub, client: HubClient, models_dir: Path, tmp_path: Path
) -> None:
    below = {"1_Pooling/config.json": b"{}", "additional_chat_templates/rag.jinja": b"x"}
    others = {"modules.json": b"[]", "hf_quant_config.json": b"{}", "onnx/config.json": b"{}"}
    for path, body in {**small_model(), **below, **others}.items():
        (tmp_path / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / path).write_bytes(body)
    hub.add_repo("org/name", tmp_path / "source")
    fetched = get(look(client), models_dir, client)
    found = {str(path.relative_to(fetched)) for path in fetched.rglob("*") if path.is_file()}
    assert {*below, "modules.json", "hf_quant_config.json"} <= found
    assert "onnx/config.json" not in found
