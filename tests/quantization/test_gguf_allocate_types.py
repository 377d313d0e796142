"""Maps from tensor to type: written, read back, and refused with a reason; the sizes that a model can have."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest

from lqmf.errors import UsageError
from lqmf.model_files.gguf_header import Tensor, read_header
from lqmf.quantization.gguf.mix import tensor_types
from tests.fixtures_gguf import demo_gguf


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, "F16", 2 * prod(shape), 0)


TENSORS = [
    tensor("token_embd.weight", 512, 1000),
    tensor("output.weight", 512, 1000),
    tensor("blk.0.attn_output.weight", 512, 512),
    tensor("blk.0.ffn_down.weight", 1056, 512),
    tensor("blk.1.ffn_down.weight", 1056, 512),
]


def test_a_map_that_was_written_is_read_back_whole(tmp_path: Path) -> None:
    types = {"output.weight": "q6_K", "blk.0.attn_output.weight": "iq4_xs", "blk.0.ffn_down.weight": "q5_0"}
    tensor_types.write_tensor_types(types, tmp_path / "types.txt")
    words = (tmp_path / "types.txt").read_text().split()
    assert tensor_types.match(tensor_types.parse_keep(words), TENSORS) == types
    assert list(tmp_path.iterdir()) == [tmp_path / "types.txt"]


def test_the_heads_line_does_not_name_the_attentions_output(tmp_path: Path) -> None:
    """llama-quantize searches each pattern in the names: bare, `output.weight` is found in attn_output.weight too."""
    tensor_types.write_tensor_types({"output.weight": "q8_0"}, tmp_path / "types.txt")
    assert (tmp_path / "types.txt").read_text() == "^output.weight$=q8_0\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("blk.7.ffn_down.weight=q4_K", "no tensor that 'blk.7.ffn_down.weight' names"),
        ("output.weight=q9_K", "no tensor type called 'q9_K'"),
        ("output.weight", "does not say which tensors take which type"),
        ("=q4_K", "does not say which tensors take which type"),
        ("ffn_down=q4_K", "rows of 1056 weights are no whole blocks of 256"),
        ("ffn_(=q4_0", "is no pattern"),
    ],
)
def test_a_map_that_does_not_fit_the_model_is_refused_with_its_reason(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        tensor_types.match(tensor_types.parse_keep([text]), TENSORS)
    assert complaint in refused.value.message
    assert refused.value.remedy


def test_keep_takes_llama_quantizes_words_and_the_first_match_decides() -> None:
    pairs = tensor_types.parse_keep(["output=Q8_0", "blk.0.*=q5_0", "ffn_down=q4_1"])
    assert tensor_types.match(pairs, TENSORS) == {
        "output.weight": "q8_0",
        "blk.0.attn_output.weight": "q5_0",
        "blk.0.ffn_down.weight": "q5_0",
        "blk.1.ffn_down.weight": "q4_1",
    }


def test_the_output_of_a_model_with_a_tied_head_is_its_embedding() -> None:
    tied = [each for each in TENSORS if each.name != "output.weight"]
    assert tensor_types.match({"output": "q8_0"}, tied) == {"token_embd.weight": "q8_0"}


def test_rows_that_are_no_multiple_of_256_take_types_of_32_only() -> None:
    types = tensor_types.candidates(TENSORS[3], importance=True)
    assert set(types) == {"iq4_nl", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "f16"}


def test_without_importance_the_smallest_types_are_left_out_and_fast_leaves_out_all_i_types() -> None:
    inner, head = TENSORS[2], TENSORS[1]
    assert {"iq2_s", "iq3_xxs"} & set(tensor_types.candidates(inner, importance=False)) == set()
    assert "iq2_xxs" not in tensor_types.candidates(head, importance=False)
    assert not any(kind.startswith("iq") for kind in tensor_types.candidates(inner, importance=True, fast=True))


def test_a_size_outside_what_the_model_can_have_is_refused_with_the_size_it_can_have() -> None:
    header = read_header(demo_gguf("F16"))
    matrices = {each.name for each in header.tensors if len(each.shape) > 1}
    bounds = tensor_types.bounds(header, matrices)
    assert bounds.largest_bytes == demo_gguf("F16").stat().st_size
    for size, word in ((bounds.smallest_bytes - 1, "too small"), (bounds.largest_bytes + 1, "more than the model")):
        with pytest.raises(UsageError, match=word) as refused:
            bounds.check(size)
        assert "--target-size" in refused.value.remedy
    bounds.check(bounds.smallest_bytes)
    kept = tensor_types.bounds(header, matrices, {"token_embd.weight": "q8_0"})
    assert kept.smallest_bytes > bounds.smallest_bytes
    assert kept.largest_bytes < bounds.largest_bytes
