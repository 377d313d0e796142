"""Damage done to model files on purpose, each in one place and leaving the rest as it was: what a faulty converter, a
cut download or a bad disk would do. GGUF files are edited in their header or their blocks, safetensors likewise."""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Callable
from pathlib import Path

from lqmf.model_files import safetensors_header
from lqmf.model_files.gguf_header import _Reader, read_header

NAN_F16 = struct.pack("<H", 0x7E00)
Damage = Callable[[bytearray, Path], None]  # the file's bytes, and the sound file that they were read from


def planted(sound: Path, to: Path, damage: Damage) -> Path:
    """A copy of the GGUF file `sound` at `to`, with `damage` done to it."""
    data = bytearray(sound.read_bytes())
    damage(data, sound)
    to.write_bytes(data)
    return to


# ---------------------------------------------------------------- GGUF


def zeroed(name: str) -> Damage:
    """A tensor whose bytes are all zero."""

    def damage(data: bytearray, sound: Path) -> None:
        start, size = _place(sound, name)
        data[start : start + size] = bytes(size)

    return damage


def nan_scale(name: str) -> Damage:
    """One block of a Q4_K or Q8_0 tensor whose scale is NaN: its first half float."""

    def damage(data: bytearray, sound: Path) -> None:
        start, _ = _place(sound, name)
        data[start : start + 2] = NAN_F16

    return damage


def swapped(one: int, other: int) -> Damage:
    """Two layers in each other's place: all their tensors change names."""

    def damage(data: bytearray, sound: Path) -> None:
        end = read_header(sound).data_offset
        data[:end] = _exchanged(bytes(data[:end]), f"blk.{one}.".encode(), f"blk.{other}.".encode())

    return damage


def value(key: str, form: str, new: float) -> Damage:
    """A number of the header that is another one."""

    def damage(data: bytearray, sound: Path) -> None:
        start, _ = _pair(sound, key)
        struct.pack_into(form, data, start, new)

    return damage


def text(key: str, old: str, new: str) -> Damage:
    """A string of the header in which `new` stands for `old`, as long."""
    assert len(old.encode()) == len(new.encode())

    def damage(data: bytearray, sound: Path) -> None:
        start, end = _pair(sound, key)
        assert old.encode() in data[start:end]
        data[start:end] = bytes(data[start:end]).replace(old.encode(), new.encode())

    return damage


def shifted_vocabulary(data: bytearray, sound: Path) -> None:
    """Every token has the text of the one before it."""
    start, end = _pair(sound, "tokenizer.ggml.tokens")
    _, count = struct.unpack_from("<IQ", data, start)
    at, words = start + 12, []
    for _ in range(count):
        size = 8 + struct.unpack_from("<Q", data, at)[0]
        words.append(bytes(data[at : at + size]))
        at += size
    assert at == end
    data[start + 12 : end] = b"".join([words[-1], *words[:-1]])


def cut_short(data: bytearray, sound: Path) -> None:
    """The file without its last kilobyte."""
    del data[-1024:]


def flipped_bit(data: bytearray, sound: Path) -> None:
    """One bit of one weight."""
    start, size = _place(sound, "blk.3.ffn_down.weight")
    data[start + size // 2] ^= 1


def _place(sound: Path, name: str) -> tuple[int, int]:
    header = read_header(sound)
    tensor = next(one for one in header.tensors if one.name == name)
    return header.data_offset + tensor.offset, tensor.size_bytes


def _pair(sound: Path, wanted: str) -> tuple[int, int]:
    """Where a key's value begins and ends in the file."""
    with sound.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        reader = _Reader(sound, view, len(view))
        _, _, pairs = reader._preamble()
        for _ in range(pairs):
            key, kind = reader._string(), reader._scalar("<I")
            start = reader.at
            reader._value(kind)
            if key == wanted:
                return start, reader.at
    raise AssertionError(f"{sound.name} has no {wanted}")


def _exchanged(data: bytes, one: bytes, other: bytes) -> bytes:
    assert len(one) == len(other)
    aside = b"\xff" * len(one)
    return data.replace(one, aside).replace(other, one).replace(aside, other)


# ---------------------------------------------------------------- safetensors


def zero_tensor(folder: Path, name: str) -> None:
    """The bytes of one tensor in `folder` become zero."""
    file, start, size = _stored(folder, name)
    data = bytearray(file.read_bytes())
    data[start : start + size] = bytes(size)
    file.write_bytes(data)


def nan_float(folder: Path, name: str) -> None:
    """The first number of a tensor of 32-bit or 16-bit floats becomes NaN."""
    file, start, _ = _stored(folder, name)
    tensor = next(one for one in safetensors_header.read(file).tensors if one.name == name)
    nan = {"F32": struct.pack("<f", float("nan")), "F16": NAN_F16, "BF16": struct.pack("<H", 0x7FC0)}[tensor.dtype]
    data = bytearray(file.read_bytes())
    data[start : start + len(nan)] = nan
    file.write_bytes(data)


def swap_layers(folder: Path, one: int, other: int, under: str = "layers") -> None:
    """All tensors of two layers change names; `under` is what their list is called."""
    for file in safetensors_header.weights(folder):
        data = file.read_bytes()
        end = safetensors_header.read(file).begin
        head = _exchanged(data[:end], f".{under}.{one}.".encode(), f".{under}.{other}.".encode())
        file.write_bytes(head + data[end:])


def configure(folder: Path, file: str, **changes: object) -> None:
    """A JSON file in `folder` with these entries set."""
    document = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**document, **changes}))


def _stored(folder: Path, name: str) -> tuple[Path, int, int]:
    for file in safetensors_header.weights(folder):
        header = safetensors_header.read(file)
        for tensor in header.tensors:
            if tensor.name == name:
                return file, header.begin + tensor.begin, tensor.size_bytes
    raise AssertionError(f"{folder.name} has no {name}")
