"""The slots of a request in one table: what each is called on a command line, how its words are read, what it means,
and which intents take it. Options of commands, lines proposed next, and schemas of other doors are made from it.

Pure; knows no terminal. The fields of `lqmf.records.Request` are these and no others, but for the answers to questions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lqmf.declared import methods
from lqmf.errors import UsageError
from lqmf.fit.needs import CACHE_TYPES
from lqmf.quantization.parameters import pairs
from lqmf.records import Request
from lqmf.understanding.lexicon import MOST, type_name
from lqmf.units import GB, GIB, parse_file_size, parse_memory, parse_tokens, short

PLANS, PREPARES, QUANTIZES = ("plan", "preflight", "quantize"), ("plan", "quantize"), ("quantize",)


@dataclass(frozen=True)
class Slot:
    """One slot. `flag` is its option ("--memory"; "" for an argument), `metavar` stands for its value in a help text.

    `kind` is the type of its value; `choices` are the only values, where they are few. `read` turns the words of a
    command line into the value and raises UsageError. `unit` follows the value where it is spelled back ("8GB"). A bool
    with `negative` can be said both ways ("--no-imatrix"); a slot that is `repeated` is said several times.
    """

    name: str
    flag: str
    help: str
    intents: tuple[str, ...]
    kind: type = str
    metavar: str = ""
    read: Callable[[str], Any] | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    negative: bool = False
    repeated: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the slot's value."""
        if self.repeated:
            item: dict[str, Any] = {"type": "string"}
            shape = {"type": "array", "items": item} if self.kind is str else {"type": "object"}
            return {**shape, "description": self.help}
        types = {str: "string", int: "integer", float: "number", bool: "boolean"}
        limited = {"enum": list(self.choices)} if self.choices else {}
        return {"type": types[self.kind], **limited, "description": self.help}

    def words(self, value: Any) -> Iterator[str]:
        """Yield the words that say `value` on a command line."""
        if self.kind is bool:
            if value or self.negative:
                yield self.flag if value else f"--no-{self.flag.removeprefix('--')}"
        elif self.repeated:
            said = [f"{name}={one}" for name, one in value.items()] if isinstance(value, Mapping) else value
            for one in said:
                yield from (self.flag, str(one))
        else:
            yield from (self.flag, f"{value:g}{self.unit}" if self.unit else str(value))


# ---------------------------------------------------------------- how values are read


def type_names(text: str) -> str:
    """Return a type, or several with commas between, in its own spelling: Q4_K_M in capitals, nf4 in small letters. A
    mix may name its size: auto@4.2GB. Raises UsageError for a size that is none."""
    return ",".join(_spelled(part.strip()) for part in text.split(",") if part.strip())


def _spelled(part: str) -> str:
    name, at, size = part.partition("@")
    if at and name.lower() == "auto":
        parse_file_size(size)
        return f"auto@{size}"
    return type_name(part) or (part.upper() if _GGUF_TYPE.match(part) else part.lower())


_GGUF_TYPE = re.compile(r"(?:I?Q\d|TQ\d|B?F16|F32|MXFP)", re.IGNORECASE)


def bits(text: str) -> float:
    """Return bits a weight. Raises UsageError for what is no number from 1 to 32."""
    if not re.fullmatch(r"\d{1,2}(?:\.\d{1,6})?", text.strip()) or not 1 <= float(text) <= MOST["bits"]:
        raise UsageError(f"'{short(text)}' is no number of bits.", "Write a number from 1 to 32, like 4 or 4.25.")
    return float(text)


def method_name(text: str) -> str:
    """Return the name of a quantization method, also of one that another package installed. Raises UsageError."""
    from lqmf.quantization.registry import backends

    if (name := text.strip().lower()) not in backends():
        raise UsageError(f"'{text}' is not one of {', '.join(backends())}.")
    return name


def memory_gb(text: str) -> float:
    """Return a memory size in GiB, as cards are sold; a whole number where it is whole. Raises UsageError."""
    return _plain(parse_memory(text) / GIB)


def file_gb(text: str) -> float:
    """Return a file's size in GB, powers of 1000. Raises UsageError."""
    return _plain(parse_file_size(text) / GB)


def cache_types(text: str) -> str:
    """Return the types of a KV cache: a single type for keys and values, or two with a slash between. Raises
    UsageError."""
    names = [part.strip().lower() for part in text.split("/")]
    if len(names) > 2 or any(name not in CACHE_TYPES for name in names):
        raise UsageError(f"'{text}' is no type of a KV cache.", f"Write one of {', '.join(CACHE_TYPES)}, or q8_0/q4_0.")
    return "/".join(dict.fromkeys(names))


def chats(text: str) -> int:
    """Return the number of chats at once. Raises UsageError for anything but a whole number from 1."""
    if not re.fullmatch(r"0*[1-9]\d{0,5}", text.strip()):
        raise UsageError(f"'{short(text)}' is no number of chats.", "Write a whole number, 1 or more.")
    return int(text)


def _plain(number: float) -> float:
    return int(number) if number == int(number) else round(number, 6)


# ---------------------------------------------------------------- the table

SLOTS = (
    Slot("model", "", "org/name[@revision], a folder, a familiar name, or demo.", PLANS, metavar="MODEL"),
    Slot("method", "--method", f"How to quantize: {methods.names()}.", PLANS, metavar="NAME", read=method_name),
    Slot(
        "type",
        "--type",
        "Q4_K_M, Q8_0, auto, auto@4.2GB, or several: Q4_K_M,Q8_0.",
        PLANS,
        metavar="TYPE",
        read=type_names,
    ),
    Slot("bits", "--bits", "Bits a weight; 4.25 gives a mix of types.", PLANS, float, metavar="N", read=bits),
    Slot("device", "--device", "Where it will run.", PLANS, choices=("cpu", "gpu")),
    Slot(
        "memory_gb",
        "--memory",
        "Memory it must run in, like 8GB.",
        PLANS,
        float,
        metavar="SIZE",
        read=memory_gb,
        unit="GB",
    ),
    Slot(
        "ram_gb",
        "--ram",
        "RAM beside a GPU's memory, like 16GB.",
        PLANS,
        float,
        metavar="SIZE",
        read=memory_gb,
        unit="GB",
    ),
    Slot(
        "context",
        "--context",
        "Tokens of context, like 4096 or 16k.",
        PLANS,
        int,
        metavar="N",
        read=parse_tokens,
    ),
    Slot(
        "kv_type",
        "--kv-type",
        "Type of the KV cache: f16, q8_0, q4_0, or K/V apart: q8_0/q4_0.",
        PLANS,
        metavar="TYPE",
        read=cache_types,
    ),
    Slot("parallel", "--parallel", "Chats at once.", PLANS, int, metavar="N", read=chats),
    Slot(
        "target_size_gb",
        "--target-size",
        "The file's greatest size, like 4.2GB.",
        PLANS,
        float,
        metavar="SIZE",
        read=file_gb,
        unit="GB",
    ),
    Slot("priority", "--priority", "What matters most.", PLANS, choices=("quality", "speed", "size")),
    Slot(
        "imatrix",
        "--imatrix",
        "Whether an importance matrix guides it (left open: up to 4 bits).",
        PREPARES,
        bool,
        negative=True,
    ),
    Slot(
        "calibration",
        "--calibration",
        "Text to calibrate on, or a finished importance matrix (.gguf).",
        PREPARES,
        metavar="FILE",
    ),
    Slot(
        "keep",
        "--keep",
        "A mix leaves these tensors in this type, like output=Q8_0.",
        PREPARES,
        metavar="NAME=TYPE",
        repeated=True,
    ),
    Slot(
        "discard_source",
        "--discard-source",
        "Drop each downloaded file once it is read; nothing is left to compare with.",
        PREPARES,
        bool,
    ),
    Slot("adapter", "--adapter", "A LoRA to merge into the weights on the way.", PREPARES, metavar="DIR"),
    Slot(
        "parameters",
        "--set",
        "A setting of the method's own: group_size=64, desc_act=true (gptq); double_quant=false (bnb).",
        PREPARES,
        dict,
        metavar="NAME=VALUE",
        repeated=True,
    ),
    Slot("purpose", "--for", "What it is for: decides the method, if left open.", PREPARES, choices=("finetune",)),
    Slot(
        "cpu_fallback",
        "--cpu-fallback",
        "Go on with the CPU when the GPU's memory is full.",
        PREPARES,
        bool,
        negative=True,
    ),
    Slot("keep_16bit", "--keep-16bit", "Keep the 16-bit file made on the way.", QUANTIZES, bool, negative=True),
    Slot("test", "--test", "How well to measure it.", QUANTIZES, choices=("none", "quick", "comprehensive")),
    Slot(
        "gate",
        "--gate",
        "Exit 1 unless the receipt passes its gate (settings gate_kl, gate_top1).",
        (*QUANTIZES, "test"),
        bool,
    ),
    Slot("format", "", "The form of the result: gguf or safetensors.", (), choices=("gguf", "safetensors")),
    Slot("base", "--base", "The model to measure against.", ("test",), metavar="MODEL"),
    Slot("allow_remote_code", "", "Run Python that comes with the model.", (), bool),
)
BY_NAME: Mapping[str, Slot] = {slot.name: slot for slot in SLOTS}


def of_intent(intent: str) -> list[Slot]:
    """Return the slots that `intent` takes, in the order of a help text."""
    return [slot for slot in SLOTS if intent in slot.intents]


def schema(intent: str) -> dict[str, Any]:
    """Return the JSON schema of the slots that `intent` takes, as an API or a tool declares it."""
    properties = {slot.name: slot.schema() for slot in of_intent(intent)}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def words(request: Request) -> list[str]:
    """Return the options that say `request` on a command line, without the model."""
    said = request.slots()
    return [word for slot in SLOTS if slot.flag and slot.name in said for word in slot.words(said[slot.name])]


def settled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the slots that options come to: a fraction of bits asks for a mix of types, repeated settings become one
    table, what was not given is left out. Raises UsageError for a setting that is no pair."""
    said = {name: value for name, value in values.items() if value is not None and value != []}
    said = {name: value for name, value in said.items() if value is not False or BY_NAME[name].negative}
    if isinstance(settings := said.get("parameters"), list):
        said["parameters"] = pairs(settings)
    if (width := said.get("bits")) is not None:
        said |= {"bits": int(width)} if width == int(width) else {"type": said.get("type") or "auto"}
    return said
