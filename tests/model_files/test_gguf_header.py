"""The header reader tells what a file holds, and survives whatever else it is given."""

from __future__ import annotations

import contextlib
import ctypes
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.errors import IncompleteModel, LqmfError, ModelError, NotFound
from lqmf.model_files.gguf_header import LongArray, bits_per_weight, read_header, shards, token
from lqmf.model_files.gguf_types import FILE_TYPES
from lqmf.model_files.gguf_types import bits as bits_of
from lqmf.model_files.tensor_types import TENSOR_TYPES
from tests.fixtures_gguf import demo_gguf
from tests.model_files.gguf_writer import ARRAY, SMALL, STRING, gguf, tensor, text


def write(folder: Path, data: bytes, name: str = "x.gguf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("count", [3, 64, 65, 300])
def test_a_token_is_read_by_its_number_from_a_short_and_from_a_skipped_vocabulary(tmp_path, count):
    words = [f"<{number}>ü" for number in range(count)]
    header = read_header(write(tmp_path, gguf({"tokenizer.ggml.tokens": words, "general.name": "x"})))
    assert [token(header, number) for number in range(count)] == words
    for wrong in (-1, count, None, "1", True, 1.0):
        assert token(header, wrong) == ""
    assert token(read_header(write(tmp_path, gguf({"general.name": "x"}), "y.gguf")), 0) == ""


def test_a_header_says_what_the_file_holds(tmp_path):
    header = read_header(write(tmp_path, SMALL))
    assert (header.architecture, header.type, header.bits, header.version) == ("llama", "Q4_K_M", 4, 3)
    assert header.metadata["x.scale"] == 1.5
    assert header.metadata["tokenizer.ggml.tokens"] == LongArray(100)
    assert [(t.name, t.shape, t.type, t.size_bytes) for t in header.tensors] == [
        ("token_embd.weight", (256, 2), "Q4_K", 288),
        ("output_norm.weight", (256,), "F32", 1024),
    ]
    assert (header.parameters, header.tensor_bytes, header.missing_bytes) == (768, 1312, 0)
    assert bits_per_weight([header]) == 8 * 1312 / 768


@pytest.mark.parametrize(("name", "bits"), [("F16", 16), ("Q8_0", 8), ("Q4_K_M", 4), ("Q2_K", 2)])
def test_real_files_are_read_whole(name, bits):
    header = read_header(demo_gguf(name))
    assert (header.type, header.bits, header.missing_bytes) == (name, bits, 0)
    assert header.parameters == 7_344_384
    assert header.end <= header.file_bytes < header.end + 32


def test_a_file_that_does_not_say_its_type_is_known_by_what_most_of_it_is(tmp_path):
    data = gguf({"general.architecture": "llama"}, [tensor("a", (256, 4), 14, 0)], b"\0" * 840)
    assert read_header(write(tmp_path, data)).type == "Q6_K"


def test_tensor_types_have_the_sizes_of_the_installed_library():
    import llama_cpp

    library = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_name.restype = ctypes.c_char_p
    for number, known in TENSOR_TYPES.items():
        assert library.ggml_type_name(number).decode().upper() == known.name
        assert (library.ggml_blck_size(number), library.ggml_type_size(number)) == (known.block, known.block_bytes)


def test_file_types_have_the_numbers_of_the_installed_library():
    from llama_cpp import llama_cpp

    for number, name in FILE_TYPES.items():
        prefix = "LLAMA_FTYPE_ALL_" if name == "F32" else "LLAMA_FTYPE_MOSTLY_"
        assert getattr(llama_cpp, prefix + name) == number


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("Q4_K_M", 4),
        ("IQ2_XXS", 2),
        ("BF16", 16),
        ("TQ1_0", 1),
        ("MXFP4_MOE", 4),
        ("NVFP4", 4),
        ("Q4_K", 4),
        ("X4_Y", 0),
        ("", 0),
    ],
)
def test_bits_are_those_of_the_table(name, bits):
    assert bits_of(name) == bits


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "too short"),
        (b"PK\3\4" + b"\0" * 60, "not a GGUF file"),
        (gguf({}, version=1), "format version is 1"),
        (b"GGUF" + struct.pack(">I", 3) + b"\0" * 32, "format version"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0) + b"\0" * 32, "tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 62) + b"\0" * 32, "string"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 77) + b"\0" * 32, "type 77"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", ARRAY, ARRAY, 9) + b"\0" * 99,
            "elements",
        ),
        (
            b"GGUF"
            + struct.pack("<IQQ", 3, 0, 1)
            + text("k")
            + struct.pack("<IIQ", ARRAY, STRING, 1 << 40)
            + b"\0" * 99,
            "strings",
        ),
        (gguf({"general.alignment": 33}), "alignment"),
        (gguf({}, [tensor("t", (1 << 40, 1 << 40), 0, 0)]), "impossible"),
        (gguf({}, [tensor("t", (100,), 12, 0)]), "whole Q4_K blocks"),
        (gguf({}, [tensor("t", (32,), 99, 0)]), "unknown type 99"),
        (gguf({}, [tensor("t", (32,), 0, 0), tensor("t", (32,), 0, 128)]), "same name"),
        (gguf({}, [tensor("t", (1, 1, 1, 1, 1), 0, 0)]), "5 dimensions"),
    ],
)
def test_what_is_no_sound_gguf_is_refused_with_the_reason(tmp_path, data, says):
    with pytest.raises(ModelError, match=says):
        read_header(write(tmp_path, data))


def test_a_key_that_comes_twice_is_refused(tmp_path):
    one = text("k") + struct.pack("<II", 4, 1)
    with pytest.raises(ModelError, match="twice"):
        read_header(write(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + one + one))


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        read_header(tmp_path / "none.gguf")


@given(cut=st.integers(0, len(SMALL) - 1))
def test_a_truncated_file_is_refused_or_known_to_lack_bytes(tmp_path_factory, cut):
    path = write(tmp_path_factory.mktemp("cut"), SMALL[:cut])
    with contextlib.suppress(ModelError):
        assert read_header(path).missing_bytes > 0


@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6
    )
)
def test_a_mutated_file_is_read_or_refused_and_nothing_else(tmp_path_factory, changes):
    data = bytearray(SMALL)
    for at, new in changes:
        data[at : at + len(new)] = new
    try:
        header = read_header(write(tmp_path_factory.mktemp("mutated"), bytes(data)))
        assert header.end >= 0
        assert header.bits >= 0
    except LqmfError:
        pass


def test_a_header_that_claims_gigabytes_takes_no_memory(tmp_path):
    huge = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", ARRAY, 10, 1 << 60) + b"\0" * 4096
    path = write(tmp_path, huge)
    tracemalloc.start()
    with pytest.raises(ModelError):
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_split_model_is_all_its_files(tmp_path):
    data = gguf({"general.architecture": "llama", "split.count": 2, "split.no": 0})
    first = write(tmp_path, data, "m-00001-of-00002.gguf")
    with pytest.raises(IncompleteModel, match="00002-of-00002"):
        shards(first)
    second = write(tmp_path, data, "m-00002-of-00002.gguf")
    assert shards(first) == [first, second]


@given(cut=st.integers(24, len(gguf({"v": ["word"] * 100})) - 1))
def test_a_vocabulary_that_is_cut_short_is_refused(tmp_path_factory, cut):
    whole = gguf({"v": ["word"] * 100})
    path = write(tmp_path_factory.mktemp("vocabulary"), whole[: min(cut, len(whole.rstrip(b"\0")) - 1)])
    with pytest.raises(ModelError):
        read_header(path)
