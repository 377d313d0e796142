"""Importance matrices as files: what llama.cpp writes is read, what is written llama.cpp reads, and nothing else passes
for one."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lqmf.errors import LqmfError, UsageError
from lqmf.model_files import imatrix_file
from lqmf.model_files.imatrix_file import Entry, Imatrix
from lqmf.quantization.gguf.converter import toolchain
from tests.fixtures_gguf import demo_gguf
from tests.quantization.peers import peer

SHAPES = {
    "token_embd.weight": (64, 1000),
    "blk.0.attn_q.weight": (64, 64),
    "blk.0.attn_norm.weight": (64,),
    "blk.0.ffn_down_exps.weight": (96, 64, 4),
    "blk.1.attn_q.weight": (64, 64),
}


@pytest.fixture
def imatrix() -> Imatrix:
    """Two layers; the second of four experts was never chosen."""
    draw = np.random.default_rng(3)
    entries = {
        "blk.1.attn_q.weight": Entry(draw.random((1, 64), np.float32) * 512, np.array([512], np.float32)),
        "blk.0.attn_q.weight": Entry(draw.random((1, 64), np.float32) * 512, np.array([512], np.float32)),
        "blk.0.ffn_down_exps.weight": Entry(draw.random((4, 96), np.float32), np.array([300, 0, 9, 715], np.float32)),
    }
    return Imatrix(entries, ("first.txt", "zweites – Stück.txt"), 2, 256)


def same(found: Imatrix, expected: Imatrix) -> bool:
    about = (found.datasets, found.chunks, found.chunk_tokens) == (
        expected.datasets,
        expected.chunks,
        expected.chunk_tokens,
    )
    return (
        about
        and found.entries.keys() == expected.entries.keys()
        and all(
            np.array_equal(found.entries[name].sums, entry.sums)
            and np.array_equal(found.entries[name].counts, entry.counts)
            for name, entry in expected.entries.items()
        )
    )


def test_what_is_written_is_read_back_whole(imatrix: Imatrix, tmp_path: Path) -> None:
    path = tmp_path / "made.gguf"
    imatrix_file.write(imatrix, path)
    assert imatrix_file.is_imatrix(path)
    assert same(imatrix_file.read(path), imatrix)
    assert [file.name for file in tmp_path.iterdir()] == ["made.gguf"]


def test_a_failed_write_leaves_what_was_there(imatrix: Imatrix, tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(LqmfError):
        imatrix_file.write(imatrix, path)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_the_official_reader_sees_the_same_tensors(imatrix: Imatrix, tmp_path: Path) -> None:
    """gguf-py, from the converter's own archive."""
    path = tmp_path / "made.gguf"
    imatrix_file.write(imatrix, path)
    code = (
        f"import sys, json; sys.path.insert(0, {str(toolchain.ensure().gguf_py)!r})\n"
        f"from gguf import GGUFReader; r = GGUFReader({str(path)!r})\n"
        "print(json.dumps([r.fields['general.type'].contents(), r.fields['imatrix.datasets'].contents(),"
        " r.fields['imatrix.chunk_count'].contents(), r.fields['imatrix.chunk_size'].contents(),"
        " {t.name: t.data.tolist() for t in r.tensors}]))"
    )
    import json

    kind, datasets, chunks, tokens, tensors = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    assert (kind, tuple(datasets), chunks, tokens) == ("imatrix", imatrix.datasets, 2, 256)
    for name, entry in imatrix.entries.items():
        assert np.array_equal(np.float32(tensors[f"{name}.in_sum2"]).reshape(entry.sums.shape), entry.sums)
        assert np.array_equal(np.float32(tensors[f"{name}.counts"]).ravel(), entry.counts)


def test_importance_is_the_mean_of_squares_and_one_where_nothing_was_seen(imatrix: Imatrix) -> None:
    entry = imatrix.entries["blk.0.ffn_down_exps.weight"]
    found = imatrix.importance("blk.0.ffn_down_exps.weight")
    assert found is not None
    assert found.dtype == np.float32
    assert found.shape == (4, 96)
    assert np.array_equal(found[3], entry.sums[3] / np.float32(715))
    assert np.array_equal(found[1], np.ones(96, np.float32))
    assert imatrix.importance("output.weight") is None


def test_one_count_serves_all_matrices_of_a_dense_tensor() -> None:
    imatrix = Imatrix({"blk.0.attn_k_b.weight": Entry(np.arange(12, dtype=np.float32)[None], np.float32([2]))})
    found = imatrix.importance("blk.0.attn_k_b.weight", columns=4)
    assert found is not None
    assert found.tolist() == [[0, 0.5, 1, 1.5], [2, 2.5, 3, 3.5], [4, 4.5, 5, 5.5]]


# ---------------------------------------------------------------- llama.cpp's tools


def test_a_file_of_llama_imatrix_is_read_and_written_again_byte_by_byte(tmp_path: Path) -> None:
    text, theirs, ours = tmp_path / "text.txt", tmp_path / "theirs.gguf", tmp_path / "ours.gguf"
    text.write_text("Everything flows, nothing stands still. " * 400, encoding="utf-8")
    command = [peer("llama-imatrix"), "-m", demo_gguf(), "-f", text, "-o", theirs, "-c", "128", "--chunks", "3"]
    subprocess.run([*command, "--no-ppl", "-t", "1"], check=True, capture_output=True)
    imatrix_file.write(imatrix_file.read(theirs), ours)
    assert ours.read_bytes() == theirs.read_bytes()


def test_llama_quantize_takes_the_file_and_uses_it(tmp_path: Path) -> None:
    """Ones in place of true importance give other bytes: it was read, and it counted."""
    names = [name for name in _weights(demo_gguf()) if name.startswith("blk.")]
    columns = _weights(demo_gguf())
    outputs = []
    for name, draw in (("flat", np.ones), ("steep", lambda n: np.linspace(1, 90, n[1])[None])):
        entries = {key: Entry(draw((1, columns[key][0])).astype(np.float32) * 512, np.float32([512])) for key in names}
        imatrix_file.write(Imatrix(entries, ("x",), 1, 512), tmp_path / f"{name}.gguf")
        target = tmp_path / f"{name}-Q4_K_S.gguf"
        command = [peer("llama-quantize"), "--imatrix", tmp_path / f"{name}.gguf", demo_gguf(), target, "Q4_K_S", "1"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert f"have {len(names)} importance matrix entries" in said
        outputs.append(target.read_bytes()[-1_000_000:])
    assert outputs[0] != outputs[1]


def _weights(path: Path) -> dict[str, tuple[int, ...]]:
    from lqmf.model_files.gguf_header import read_header

    return {tensor.name: tensor.shape for tensor in read_header(path).tensors if len(tensor.shape) > 1}


def test_the_older_dat_format_gives_the_same_importance(tmp_path: Path) -> None:
    """A .dat holds means times calls; its importance is what it holds over its calls."""
    name, values = b"blk.0.attn_q.weight", np.arange(8, dtype="<f4")
    path = tmp_path / "old.dat"
    data = struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii", 4, 8) + values.tobytes()
    path.write_bytes(data + struct.pack("<ii", 4, 5) + b"a.txt")
    found = imatrix_file.read(path)
    assert imatrix_file.is_imatrix(path)
    assert (found.datasets, found.chunks) == (("a.txt",), 4)
    importance = found.importance("blk.0.attn_q.weight")
    assert importance is not None
    assert np.array_equal(importance[0], values / 4)
    path.write_bytes(data[:-5])
    with pytest.raises(UsageError, match="cut short"):
        imatrix_file.read(path)


# ---------------------------------------------------------------- what is none


def test_a_file_cut_anywhere_is_refused(imatrix: Imatrix, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.gguf", tmp_path / "cut.gguf"
    imatrix_file.write(imatrix, whole)
    data = whole.read_bytes()
    padding = 12  # after the last value
    for length in [*range(0, len(data) - 32, 97), len(data) - 29]:
        cut.write_bytes(data[:length])
        with pytest.raises(UsageError):
            imatrix_file.read(cut)
    cut.write_bytes(data[:-padding])
    assert same(imatrix_file.read(cut), imatrix)


def test_a_model_a_text_and_nothing_are_no_importance_matrix(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Not a matrix. " * 200, encoding="utf-8")
    for path, reason in (
        (demo_gguf(), "is a GGUF model"),
        (text, "neither GGUF nor"),
        (tmp_path / "absent.gguf", "There is no"),
        (tmp_path, "cannot be read"),
    ):
        assert not imatrix_file.is_imatrix(path)
        with pytest.raises(UsageError, match=reason) as caught:
            imatrix_file.read(path)
        assert caught.value.remedy


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_impossible_values_are_refused(imatrix: Imatrix, tmp_path: Path, value: float) -> None:
    imatrix.entries["blk.0.attn_q.weight"].sums[0, 7] = value
    imatrix_file.write(imatrix, tmp_path / "bad.gguf")
    with pytest.raises(UsageError, match=r"blk\.0\.attn_q\.weight"):
        imatrix_file.read(tmp_path / "bad.gguf")


def test_sums_without_counts_are_refused(imatrix: Imatrix, tmp_path: Path) -> None:
    path = tmp_path / "half.gguf"
    imatrix_file.write(imatrix, path)
    path.write_bytes(path.read_bytes().replace(b"attn_q.weight.counts", b"attn_z.weight.counts", 1))
    with pytest.raises(UsageError, match="not both"):
        imatrix_file.read(path)


# ---------------------------------------------------------------- of which model?


def test_the_models_own_matrix_passes(imatrix: Imatrix) -> None:
    imatrix_file.check(imatrix, SHAPES)
    imatrix_file.check(imatrix, SHAPES | {"output.weight": (64, 1000)})
    imatrix_file.check(imatrix, SHAPES | {"blk.2.nextn.eh_proj.weight": (128, 64), "blk.2.attn_q.weight": (64, 64)})


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({name: shape for name, shape in SHAPES.items() if "ffn" not in name}, "no blk.0.ffn_down_exps.weight"),
        (SHAPES | {"blk.0.ffn_down_exps.weight": (96, 64, 8)}, "holds 384 values, and this model's has 768"),
        (SHAPES | {"blk.1.attn_q.weight": (128, 64)}, "holds 64 values, and this model's has 128"),
        (SHAPES | {"blk.2.attn_q.weight": (64, 64)}, "nothing of layer 2"),
    ],
)
def test_another_models_matrix_is_refused_by_name_shape_or_layers(
    imatrix: Imatrix, shapes: dict[str, tuple[int, ...]], reason: str
) -> None:
    with pytest.raises(UsageError, match="another model") as caught:
        imatrix_file.check(imatrix, shapes)
    assert reason in caught.value.message
    assert caught.value.remedy


def test_an_unreadable_file_is_no_matrix(imatrix: Imatrix, tmp_path: Path) -> None:
    path = tmp_path / "locked.gguf"
    imatrix_file.write(imatrix, path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read anything")
    assert not imatrix_file.is_imatrix(path)
