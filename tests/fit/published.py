"""Published models from their configurations alone: folders that look like their repositories, whose weights are holes.

`published/*.json` hold the configuration of each, where it comes from, and sizes of published GGUF files with their
sources. Names and shapes are those of the checkpoint, made by transformers' own classes on the meta device.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf.model_files.safetensors_header import TensorShape

_FOLDER = Path(__file__).parent / "published"
_GEMMA_PIECES = 262144  # its embedding has 64 rows more, for images
_MXFP4_BLOCK = 32  # values that share a scale, packed in 16 bytes


@dataclass(frozen=True)
class Published:
    """A published model. `files` is what is published of its GGUF files: type to {"bytes" or "gb", "source"}.
    `stored_tied` names tied tensors that the checkpoint stores all the same."""

    name: str
    model: str
    config: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    dtype: str
    parameters: int
    stored_tied: tuple[str, ...]


def names() -> list[str]:
    """The published models, by the name of their file."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load(name: str) -> Published:
    """The published model called `name`."""
    found = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Published(
        name,
        found["model"],
        found["config"],
        found["published"],
        found.get("dtype", "BF16"),
        found["parameters"],
        tuple(found.get("stored_tied", ())),
    )


def tensors(model: Published) -> list[TensorShape]:
    """The tensors of the checkpoint, in the layout that the Hub has."""
    import torch
    import transformers
    from transformers.core_model_loading import revert_weight_conversion

    config = {key: value for key, value in model.config.items() if key not in ("quantization_config", "auto_map")}
    settings = transformers.AutoConfig.for_model(**config)
    with torch.device("meta"):
        network = getattr(transformers, config["architectures"][0])(settings)
    tied = set(network.all_tied_weights_keys) - set(model.stored_tied)
    state = {name: value for name, value in network.state_dict().items() if name not in tied}
    stored = revert_weight_conversion(network, state)
    plain = [TensorShape(name, model.dtype, tuple(value.shape)) for name, value in stored.items()]
    if model.config.get("quantization_config", {}).get("quant_method") == "mxfp4":
        return [packed for tensor in plain for packed in _mxfp4(tensor)]
    return plain


def parameters(found: Iterable[TensorShape]) -> int:
    """Weights in the checkpoint; packed four-bit values count one by one, their scales not at all."""
    return sum(
        tensor.elements * (2 if tensor.name.endswith("_blocks") else 1)
        for tensor in found
        if not tensor.name.endswith("_scales")
    )


def skeleton(model: Published, folder: Path) -> Path:
    """`folder`, filled with the model's files: the configuration, a made-up tokenizer, and weights that are a hole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(model.config), encoding="utf-8")
    _write_hole(folder / "model.safetensors", tensors(model))
    _write_tokenizer(folder)
    if model.config["model_type"] == "gemma3":
        _write_pieces(folder, _GEMMA_PIECES)
    return folder


def _mxfp4(tensor: TensorShape) -> Iterator[TensorShape]:
    """Experts as the checkpoint of GPT-OSS stores them: rows by output, blocks of 32 values and one scale for each."""
    if not tensor.name.endswith(("experts.gate_up_proj", "experts.down_proj")):
        yield tensor
        return
    experts, inputs, outputs = tensor.shape
    blocks = inputs // _MXFP4_BLOCK
    yield TensorShape(f"{tensor.name}_blocks", "U8", (experts, outputs, blocks, _MXFP4_BLOCK // 2))
    yield TensorShape(f"{tensor.name}_scales", "U8", (experts, outputs, blocks))


def _write_hole(path: Path, found: Iterable[TensorShape]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in found:
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.size_bytes],
        }
        end += tensor.size_bytes
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)


def _write_tokenizer(folder: Path) -> None:
    """A byte-level BPE tokenizer of the bytes alone: the converter fills the vocabulary up to its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {piece: index for index, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    # by GPT2Tokenizer the converter knows Phi-4's from Phi-3's
    settings = {"tokenizer_class": "GPT2Tokenizer" if kind == "phi3" else "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _write_pieces(folder: Path, size: int) -> None:
    """A SentencePiece model of `size` pieces, as Gemma has one: the converter counts its pieces."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    kinds = {0: ("<unk>", 2), 1: ("<s>", 3), 2: ("</s>", 3)}  # 2 unknown, 3 control, 6 byte
    kinds |= {3 + byte: (f"<0x{byte:02X}>", 6) for byte in range(256)}
    for index in range(size):
        piece, kind = kinds.get(index, (f"unused{index}", 1))
        model.pieces.add(piece=piece, score=-float(index), type=kind)
    model.trainer_spec.model_type = 2  # BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = size
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = model.normalizer_spec.remove_extra_whitespaces = False
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
