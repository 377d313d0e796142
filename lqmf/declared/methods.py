"""The declaration of each quantization method: the words people use for it, its types, what its artifacts need, how
they are shown.

A backend carries its declaration as the attribute `declared`. LQMF's own declarations stand here as plain data, so that
a sentence is read and a folder recognized without importing a backend; those of other packages are read through their
entry points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from lqmf.declared import entry_points
from lqmf.records import QuantType

BACKEND_GROUP = "lqmf.backends"
GROUP = 128  # GPTQ's usual group: weights that share a scale


@dataclass(frozen=True)
class Phrase:
    """One way to say a method's own setting `name` in a sentence: a regular expression over small letters.

    Of its groups, `number` is the value (with `percent`: in hundredths), `word` is the value as `spelled` writes it;
    without either group the setting is a switch, which the group `no` turns off.
    """

    name: str
    pattern: str
    spelled: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """The declaration of one method. All but the first three fields may be left out.

    `words` is a regular expression, without groups that capture, of the words that name the method. `aliases` are other
    names of its types. `marked` is the `quant_method` in the config.json of its folders (empty: `name`). `packages`
    maps each module that running its artifacts takes to the package that has it, `install` is the command that installs
    them. `tags` and `library` stand in the header of a model card; `usage` maps titles of ways to run an artifact to
    Python in which {folder} is its folder and {kind} the transformers class. `symbol` is plotly's name of its mark in
    charts. `kl` and `top1` are its gate's bounds by bits as settings write them (empty: the bounds of all methods);
    `remedies` are what to try when an artifact is not good enough, each under the least bits that it is for. `worth`
    gives, for a type that loses more or less than its bits per weight suggest, the bits that match its loss. `engine`
    is the entry point of the engine that runs its artifacts, if that is not one of LQMF's.
    """

    name: str
    title: str
    words: str
    types: tuple[QuantType, ...] = ()
    format: str = "safetensors"
    aliases: Mapping[str, str] = field(default_factory=dict)
    phrases: tuple[Phrase, ...] = ()
    marked: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    install: str = ""
    tags: tuple[str, ...] = ()
    library: str = "transformers"
    usage: Mapping[str, str] = field(default_factory=dict)
    symbol: str = "cross"
    kl: str = ""
    top1: str = ""
    remedies: Mapping[int, str] = field(default_factory=dict)
    worth: Mapping[str, float] = field(default_factory=dict)
    engine: str = ""

    @property
    def by_name(self) -> Mapping[str, QuantType]:
        """Return the method's types by their names."""
        return {kind.name: kind for kind in self.types}

    def spelled(self, type: str) -> str:
        """Return the type's own name if `type` is one of its aliases, else `type`."""
        return self.aliases.get(type, type)


# ---------------------------------------------------------------- ours

_NO = r"(?P<no>(?:no|without|not|never|skip|disable)(?: (?:use|using|any|do|the|be))* )?"
_IS = r"(?:[ :=]+(?:is|of|to|at|be|set|in|with|as))*[ :=]+"
_NUMBER = r"(?P<number>-?(?:\d+(?:\.\d+)?|\.\d+))"
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "f16": "float16", "fp32": "float32", "f32": "float32"}
_DTYPE = rf"(?P<word>bfloat16|float16|float32|{'|'.join(_DTYPES)})\b"


def _integers(bits: int, summary: str, *, general: bool = True) -> QuantType:
    width = bits + (16 + bits) / GROUP  # a half float and a zero point for every group
    return QuantType(f"{bits}bit", bits, width, summary=summary, general=general)


GGUF = Method(
    "gguf",
    "GGUF (llama.cpp)",
    r"gguf|ggml|llama\.cpp|k-?quants?",
    format="gguf",
    tags=("gguf", "llama.cpp"),
    library="gguf",
    symbol="circle",
)
GPTQ = Method(
    "gptq",
    "GPTQ",
    r"(?:auto-?)?gptq(?:model)?",
    types=(
        _integers(4, "the usual one: fast on a GPU, with little loss"),
        _integers(8, "next to no loss, at half the size of 16 bits"),
        _integers(3, "a clear loss"),
        _integers(2, "a heavy loss", general=False),
    ),
    aliases={"int4": "4bit", "int8": "8bit"},  # its weights are integers, and people call them so
    phrases=(
        Phrase("group_size", rf"\bgroup[ _-]?sizes?{_IS}{_NUMBER}"),
        Phrase("group_size", r"\bgroups of (?P<number>\d+)\b"),
        Phrase("group_size", r"(?<![\w.])g(?P<number>32|64|128|256|512|1024)\b"),
        Phrase("desc_act", rf"\b{_NO}(?:act(?:ivation)?[ -]?order(?:ing)?|desc[_ -]?act)\b"),
        Phrase("sym", r"\b(?P<no>a|non-?)?symmetric(?:al|ally)?\b"),
        Phrase("damp_percent", rf"\bdamp(?:ing|en|[ _]percent)*{_IS}{_NUMBER}(?P<percent> ?(?:%|percent\b))?"),
    ),
    packages={"gptqmodel": "gptqmodel", "optimum": "optimum", "accelerate": "accelerate"},
    install="pip install 'lqmf[gptq]'",
    tags=("gptq",),
    symbol="square",
    remedies={0: "more bits, smaller groups (`--set group_size=32`), or another calibration text"},
    worth={f"{bits}bit": float(bits) for bits in (2, 3, 4, 8)},
)
BNB = Method(
    "bnb",
    "bitsandbytes",
    r"bitsandbytes|bnb",
    types=(
        QuantType("nf4", 4, 4.13, summary="the usual one, and what is fine-tuned on (QLoRA)"),
        QuantType("int8", 8, 8.01, summary="next to no loss; slower than 16 bits"),
        QuantType("fp4", 4, 4.13, summary="older; loses more than nf4", general=False),
    ),
    phrases=(
        Phrase("double_quant", rf"\b{_NO}(?:double|nested)[ -]?quant(?:ization|ized|s)?\b"),
        Phrase("compute_dtype", rf"\bcomput(?:e|ing|ation)(?:[ _](?:d?type|precision))?{_IS}{_DTYPE}", _DTYPES),
        Phrase("compute_dtype", rf"(?<![\w.]){_DTYPE} compute\b", _DTYPES),
        Phrase("threshold", rf"\b(?:outliers?[ -])?threshold{_IS}{_NUMBER}"),
    ),
    marked="bitsandbytes",
    packages={"bitsandbytes": "bitsandbytes", "accelerate": "accelerate"},
    install="pip install 'lqmf[bnb]'",
    tags=("bitsandbytes",),
    symbol="diamond",
    remedies={
        8: "GGUF (`--method gguf --type Q8_0`)",
        0: "8 bits (`--type int8`), or another method",
    },
    worth={"nf4": 4.5, "fp4": 4.5, "int8": 8.0},  # 4 bits and a 32-bit scale for each 64 weights
)
# AWQ's folders are run and measured, and made by nobody here: no word of a sentence asks for it
AWQ = Method(
    "awq",
    "AWQ",
    "",
    packages={"gptqmodel": "gptqmodel", "accelerate": "accelerate"},
    install="pip install 'lqmf[gptq]'",
    tags=("awq",),
    symbol="triangle-up",
)
OWN = (GGUF, GPTQ, BNB)


# ---------------------------------------------------------------- all of them


@cache
def offered() -> Mapping[str, Method]:
    """Return the declarations of the methods that make artifacts, by name, ours first."""
    found = {method.name: method for method in OWN}
    for name in entry_points.points(BACKEND_GROUP):
        method = entry_points.load(BACKEND_GROUP, name, _declaration)
        if method is not None:
            found.setdefault(method.name, method)
    return found


@cache
def known() -> Mapping[str, Method]:
    """Return the declarations of the methods whose artifacts are recognized: those offered, and AWQ."""
    return {**offered(), AWQ.name: AWQ}


def of(name: str) -> Method:
    """Return the declaration of the method `name`; for an unknown method, a declaration of its name alone."""
    return known().get(name) or Method(name, name, "")


def names() -> str:
    """Return the names of the methods on offer, as words of a sentence: "gguf, gptq or bnb"."""
    *most, last = offered()
    return f"{', '.join(most)} or {last}"


def marked(word: str) -> str:
    """Return the name of the method that writes `word` as `quant_method` into config.json; `word` itself if no method
    does."""
    return next((method.name for method in known().values() if method.marked == word), word)


def types() -> Mapping[str, tuple[Method, QuantType]]:
    """Return each declared type and its method, by the type's name; GGUF's types are in
    `lqmf.model_files.gguf_types`."""
    found: dict[str, tuple[Method, QuantType]] = {}
    for method in offered().values():
        for kind in method.types:
            found.setdefault(kind.name, (method, kind))
    return found


def _declaration(backend: Any) -> Method:
    """Return the declaration of a backend's class. Raises TypeError if it is no Method, ValueError for words that
    cannot be looked for."""
    if not isinstance(backend.declared, Method):
        raise TypeError("its `declared` is no lqmf.plugin.Method")
    entry_points.check_words(backend.declared.name, backend.declared.words)
    return backend.declared
