"""A model is known down to every tensor's shape without its weights, and what is made of it is whole or not there."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from lqmf.errors import (
    ConnectionBroken,
    GatedModel,
    HubUnavailable,
    IncompleteModel,
    IntegrityError,
    LqmfError,
    ModelError,
    Offline,
    ResourceError,
    UnsafeFormat,
)
from lqmf.hub import skeleton
from lqmf.hub.client import HubClient
from lqmf.hub.download import fetch
from lqmf.hub.metadata import inspect
from lqmf.model_files import describe, safetensors_header
from lqmf.model_files.refs import DEMO_FOLDER
from lqmf.model_files.safetensors_header import TensorShape
from lqmf.records import ModelInfo, ModelRef, RemoteFile
from tests.hub.conftest import QUICK
from tests.hub.models import header, hollow, seven_b, sharded_demo, small_model
from tests.hub.server import Hollow, LocalHub

ORG = ModelRef("hub", "org/name")
EVER = 1 + QUICK.max_retries
FIRST = 128 << 10
Make = Callable[[ModelInfo], Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "skeletons"


@pytest.fixture
def make(client: HubClient, root: Path, models_dir: Path) -> Make:
    return lambda info: asyncio.run(skeleton.skeleton(info, hub=client, root=root, models=models_dir))


def look(hub: LocalHub, client: HubClient, files: dict[str, bytes | Hollow] | dict[str, bytes] | Path) -> ModelInfo:
    """What is known of a repository with these files; the log then begins anew."""
    hub.add_repo("org/name", files if isinstance(files, Path) else {**files})
    info = asyncio.run(inspect(ORG, hub=client))
    hub.requests.clear()
    return info


def left(root: Path) -> list[str]:
    """What lies under the root, but for locks."""
    return [path.name for path in root.rglob("*") if path.name != ".lock" and path.parent != root]


def test_a_7b_model_moves_less_than_20_mb_and_no_weights(
    hub: LocalHub, client: HubClient, make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    """Issue 4: metadata and tokenizer of a 7B model in less than 20 MB and at most a few requests a shard."""
    hub.add_repo("org/name", seven_b())
    info = asyncio.run(inspect(ORG, hub=client))
    told = len(hub.requests)
    folder = make(info)
    assert capfd.readouterr() == ("", "")
    assert sum(request.sent for request in hub.requests) < 20_000_000
    assert all(last <= FIRST for _, last, _ in hub.ranges("*.safetensors"))
    for shard in (file.path for file in info.files if file.path.endswith(".safetensors")):
        asked = [(r.method, r.range) for r in hub.requests[told:] if r.path.endswith("/" + shard)]
        assert asked == [("HEAD", None), ("GET", f"bytes=0-{FIRST - 1}")]
    assert sum(f.stat().st_size for f in folder.iterdir()) > 14_000_000_000
    assert sum(f.stat().st_blocks * 512 for f in folder.glob("*.safetensors")) < 1_000_000
    tensors = safetensors_header.tensors(folder)
    assert len(tensors) == 32 * 9 + 3
    assert sum(tensor.elements for tensor in tensors) == describe.counted(info, folder).parameters == 7_241_732_096
    assert TensorShape("model.layers.31.mlp.down_proj.weight", "BF16", (4096, 14336)) in tensors


def test_a_skeleton_is_the_model_but_for_its_weights(
    hub: LocalHub, client: HubClient, make: Make, tmp_path: Path
) -> None:
    source = sharded_demo(tmp_path / "demo")
    info = look(hub, client, source)
    folder = make(info)
    assert sorted(f.name for f in folder.iterdir()) == [f.path for f in info.files]
    for file in info.files:
        original, made = (source / file.path).read_bytes(), (folder / file.path).read_bytes()
        assert len(original) == len(made)
        if file.path.endswith(".safetensors"):
            length = 8 + struct.unpack("<Q", original[:8])[0]
            assert made[:length] == original[:length]
            assert not any(made[length:])
        else:
            assert made == original
    assert safetensors_header.tensors(folder) == safetensors_header.tensors(source)


def test_a_skeleton_is_used_again_without_a_request_and_offline(hub: LocalHub, client: HubClient, root: Path) -> None:
    info = look(hub, client, small_model())
    first = asyncio.run(skeleton.skeleton(info, hub=client, root=root))
    hub.requests.clear()
    offline = dataclasses.replace(client, offline=True)
    for hub_client in (client, offline):
        assert asyncio.run(skeleton.skeleton(info, hub=hub_client, root=root)) == first
    assert hub.requests == []
    with pytest.raises(Offline):
        asyncio.run(skeleton.skeleton(info, hub=offline, root=root / "elsewhere"))


def test_a_damaged_skeleton_is_made_again(hub: LocalHub, client: HubClient, make: Make) -> None:
    info = look(hub, client, small_model())
    (make(info) / "tokenizer.json").unlink()
    assert (make(info) / "tokenizer.json").read_bytes() == small_model()["tokenizer.json"]


def test_two_at_once_fetch_it_once(hub: LocalHub, client: HubClient, root: Path) -> None:
    info = look(hub, client, small_model())

    async def both() -> list[Path]:
        return await asyncio.gather(*(skeleton.skeleton(info, hub=client, root=root) for _ in range(2)))

    first, second = asyncio.run(both())
    assert first == second
    assert len([r for r in hub.requests if r.path.endswith("/config.json")]) == 1


def test_a_folder_of_the_users_own_is_given_as_it_is(hub: LocalHub, client: HubClient, make: Make, root: Path) -> None:
    for ref in (ModelRef("demo", "demo", path=str(DEMO_FOLDER)), ModelRef("local", "x", path=str(DEMO_FOLDER))):
        assert make(asyncio.run(inspect(ref, hub=client))) == DEMO_FOLDER
    assert hub.requests == []
    assert not root.exists()


def test_a_model_that_is_here_is_not_fetched(hub: LocalHub, client: HubClient, make: Make, models_dir: Path) -> None:
    info = look(hub, client, small_model())
    whole = asyncio.run(fetch(info, models_dir, hub=client, emit=lambda _: None))
    hub.requests.clear()
    assert make(info) == whole
    assert hub.requests == []


def test_a_model_in_the_hugging_face_cache_is_not_fetched(hub: LocalHub, client: HubClient, make: Make) -> None:
    from huggingface_hub import snapshot_download

    from lqmf.hub import hf_cache

    info = look(hub, client, small_model())
    whole = snapshot_download("org/name", endpoint=hub.url, cache_dir=hf_cache.folder(), token=False)
    hub.requests.clear()
    assert make(info) == Path(whole)
    assert hub.requests == []


def test_a_long_header_takes_one_more_request(hub: LocalHub, client: HubClient, make: Make) -> None:
    shapes = {f"model.layers.{n}.a_rather_long_name_of_a_tensor.weight": [64, 64] for n in range(3000)}
    length = len(header(shapes)[0])
    info = look(hub, client, {**small_model(), "model.safetensors": hollow(shapes)})
    folder = make(info)
    assert length > 2 * FIRST
    assert hub.ranges("*/model.safetensors") == [(0, FIRST, FIRST), (FIRST, length, length - FIRST)]
    assert [t.name for t in safetensors_header.tensors(folder)] == list(shapes)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("path", ["*/tokenizer.json", "/cdn/*/model.safetensors"])
@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        ("cut", {"after": 0}, ConnectionBroken),
        ("hang", {}, ConnectionBroken),
        ("status", {"status": 503}, HubUnavailable),
    ],
)
def test_a_broken_connection_leaves_nothing_and_may_heal(
    hub: LocalHub,
    client: HubClient,
    make: Make,
    root: Path,
    path: str,
    fault: str,
    options: dict[str, int],
    error: type[LqmfError],
) -> None:
    info = look(hub, client, small_model())
    hub.fail(path, fault, times=EVER, **options)
    with pytest.raises(error):
        make(info)
    assert left(root) == []
    hub.fail(path, fault, **options)
    assert safetensors_header.tensors(make(info))


def test_a_header_that_is_cut_goes_on_where_it_stopped(hub: LocalHub, client: HubClient, make: Make) -> None:
    info = look(hub, client, small_model())
    hub.fail("/cdn/*/model.safetensors", "cut", after=1000)
    make(info)
    assert [start for start, _, _ in hub.ranges("*/model.safetensors")] == [0, 1000]


@pytest.mark.parametrize(
    ("path", "fault", "method"),
    [
        ("*/tokenizer.json", "corrupt", "GET"),
        ("*/tokenizer.json", "truncate", "GET"),
        ("*/model.safetensors", "etag", "HEAD"),
        ("*/model.safetensors", "commit", "HEAD"),
    ],
)
def test_other_bytes_than_the_listed_are_refused(
    hub: LocalHub, client: HubClient, make: Make, root: Path, path: str, fault: str, method: str
) -> None:
    info = look(hub, client, small_model())
    hub.fail(path, fault, method=method)
    with pytest.raises(IntegrityError):
        make(info)
    assert left(root) == []


def test_a_whole_file_in_answer_to_a_range_is_left_after_the_header(
    hub: LocalHub, client: HubClient, make: Make
) -> None:
    info = look(hub, client, small_model())
    hub.without_ranges = True
    assert [t.name for t in safetensors_header.tensors(make(info))] == ["w"]


def hostile(entry: dict[str, object], size: int = 400) -> Hollow:
    raw = json.dumps({"w": entry}).encode()
    return Hollow(struct.pack("<Q", len(raw)) + raw, 8 + len(raw) + size)


SOUND: dict[str, object] = {"dtype": "BF16", "shape": [200], "data_offsets": [0, 400]}


@pytest.mark.parametrize(
    ("weights_file", "error"),
    [
        (Hollow(struct.pack("<Q", 1 << 40), 5000), UnsafeFormat),
        (Hollow(struct.pack("<Q", 101 << 20), 1 << 30), UnsafeFormat),
        (Hollow(struct.pack("<Q", 4993), 5000), UnsafeFormat),
        (Hollow(struct.pack("<Q", 65 << 20), 1 << 30), ModelError),
        (Hollow(b"PK\x03\x04" + bytes(96), 5000), UnsafeFormat),
        (Hollow(struct.pack("<Q", 20) + b"[" * 20, 5000), UnsafeFormat),
        (hostile({**SOUND, "data_offsets": [0, 1 << 50]}), UnsafeFormat),
        (hostile({**SOUND, "data_offsets": [-400, 0]}), UnsafeFormat),
        (hostile({**SOUND, "data_offsets": [8, 408]}), UnsafeFormat),
        (hostile({**SOUND, "data_offsets": []}), UnsafeFormat),
        (hostile({**SOUND, "shape": [-20, -10]}), UnsafeFormat),
        (hostile({**SOUND, "shape": [1e400]}), UnsafeFormat),
        (hostile({**SOUND, "shape": [1] * 65}), UnsafeFormat),
        (hostile({**SOUND, "dtype": "X9"}), UnsafeFormat),
        (hostile({**SOUND, "shape": [1 << 60], "data_offsets": [0, 1 << 61]}), IncompleteModel),
        (hostile(SOUND, size=300), IncompleteModel),
    ],
)
def test_a_hostile_header_is_refused(
    hub: LocalHub, client: HubClient, make: Make, root: Path, weights_file: Hollow, error: type[LqmfError]
) -> None:
    told = {"parameters": {"BF16": 200}, "total": 200}
    hub.add_repo("org/name", {**small_model(), "model.safetensors": weights_file}, safetensors=told)
    info = asyncio.run(inspect(ORG, hub=client))
    with pytest.raises(error):
        make(info)
    assert left(root) == []
    assert all(last <= FIRST for _, last, _ in hub.ranges("*/model.safetensors"))


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    """A small file that claims to be a large model."""
    raw = json.dumps({name: SOUND for name in ("a", "b")}).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(800))
    with pytest.raises(UnsafeFormat):
        safetensors_header.read(file)


# ---------------------------------------------------------------- refusals before anything is asked


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"weights_format": "pickle"}, UnsafeFormat),
        ({"weights_format": "none"}, IncompleteModel),
        ({"access": "gated"}, GatedModel),
        ({"files": (RemoteFile("tokenizer.json", 49 << 20),)}, ModelError),
        ({"files": (RemoteFile("../config.json", 9),)}, UnsafeFormat),
    ],
)
def test_what_cannot_be_looked_at_is_refused_before_a_request(
    hub: LocalHub, client: HubClient, make: Make, root: Path, changed: dict[str, object], error: type[LqmfError]
) -> None:
    info = look(hub, client, small_model())
    with pytest.raises(error) as caught:
        make(dataclasses.replace(info, **changed))  # type: ignore[arg-type]
    assert caught.value.remedy
    assert hub.requests == []
    assert left(root) == []


def test_a_link_in_place_of_a_tokenizer_is_refused(hub: LocalHub, client: HubClient, make: Make, root: Path) -> None:
    info = look(hub, client, {**small_model(), "tokenizer.json": b"../../secrets"})
    with pytest.raises(UnsafeFormat, match="link"):
        make(info)
    assert left(root) == []


def test_a_file_system_without_holes_is_refused_before_a_request(
    hub: LocalHub, client: HubClient, make: Make, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None can be mounted here: a file that is all data stands in for the hole that such a system fills."""
    info = look(hub, client, small_model())
    fill = lambda path, body, size: path.write_bytes(bytes(body) + b"x" * (size - len(body)))  # noqa: E731
    monkeypatch.setattr(skeleton, "_write_hollow", fill)
    with pytest.raises(ResourceError, match="sparse"):
        make(info)
    assert hub.requests == []
    assert left(root) == []


# ---------------------------------------------------------------- every tensor of a folder


def test_the_tensors_of_shards_are_those_of_the_one_file(tmp_path: Path) -> None:
    sharded = safetensors_header.tensors(sharded_demo(tmp_path / "demo"))
    assert sorted(sharded, key=lambda t: t.name) == sorted(
        safetensors_header.tensors(DEMO_FOLDER), key=lambda t: t.name
    )
    assert sum(tensor.size_bytes for tensor in sharded) == 2 * sum(tensor.elements for tensor in sharded) == 14688768


def test_a_folder_without_weights_or_with_a_lost_shard_is_incomplete(tmp_path: Path) -> None:
    with pytest.raises(IncompleteModel):
        safetensors_header.tensors(tmp_path)
    folder = sharded_demo(tmp_path / "demo")
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(IncompleteModel, match="model-00002"):
        safetensors_header.tensors(folder)


def test_four_bit_numbers_take_half_a_byte() -> None:
    assert TensorShape("w", "F4", (3, 4)).size_bytes == 6
    assert TensorShape("scalar", "F32", ()).size_bytes == 4
