"""What a sentence says of the settings that one method has: GPTQ's groups, order, symmetry and damping; bitsandbytes'
double quantization, computing type and outliers.

Knows the words around them and whose they are. Knows nothing of what a setting may be: the backend checks that.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lqmf.understanding.patterns import Pattern

_NO = r"(?P<no>(?:no|without|not|never|skip|disable)(?: (?:use|using|any|do|the|be))* )?"
_IS = r"(?:[ :=]+(?:is|of|to|at|be|set|in|with|as))*[ :=]+"
_NUMBER = r"(?P<number>-?(?:\d+(?:\.\d+)?|\.\d+))"
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "f16": "float16", "fp32": "float32", "f32": "float32"}
_DTYPE = rf"(?P<dtype>bfloat16|float16|float32|{'|'.join(_DTYPES)})\b"


def _number(found: re.Match[str]) -> str:
    return found["number"]


def _share(found: re.Match[str]) -> str:
    return f"{float(found['number']) / 100:g}" if found["percent"] else found["number"]


def _switch(found: re.Match[str]) -> str:
    return "false" if found["no"] else "true"


def _dtype(found: re.Match[str]) -> str:
    return _DTYPES.get(found["dtype"], found["dtype"])


_SETTINGS: tuple[tuple[str, str, Pattern, Callable[[re.Match[str]], str]], ...] = (
    ("gptq", "group_size", Pattern(rf"\bgroup[ _-]?sizes?{_IS}{_NUMBER}"), _number),
    ("gptq", "group_size", Pattern(r"\bgroups of (?P<number>\d+)\b"), _number),
    ("gptq", "group_size", Pattern(r"(?<![\w.])g(?P<number>32|64|128|256|512|1024)\b"), _number),
    ("gptq", "desc_act", Pattern(rf"\b{_NO}(?:act(?:ivation)?[ -]?order(?:ing)?|desc[_ -]?act)\b"), _switch),
    ("gptq", "sym", Pattern(r"\b(?P<no>a|non-?)?symmetric(?:al|ally)?\b"), _switch),
    (
        "gptq",
        "damp_percent",
        Pattern(rf"\bdamp(?:ing|en|[ _]percent)*{_IS}{_NUMBER}(?P<percent> ?(?:%|percent\b))?"),
        _share,
    ),
    ("bnb", "double_quant", Pattern(rf"\b{_NO}(?:double|nested)[ -]?quant(?:ization|ized|s)?\b"), _switch),
    ("bnb", "compute_dtype", Pattern(rf"\bcomput(?:e|ing|ation)(?:[ _](?:d?type|precision))?{_IS}{_DTYPE}"), _dtype),
    ("bnb", "compute_dtype", Pattern(rf"(?<![\w.]){_DTYPE} compute\b"), _dtype),
    ("bnb", "threshold", Pattern(rf"\b(?:outliers?[ -])?threshold{_IS}{_NUMBER}"), _number),
)


def settings(plain: str) -> tuple[dict[str, str] | None, str | None, str]:
    """The settings said, by name and as text; the method that has them (None where it is not one alone); and what is
    left of the sentence."""
    said: dict[str, str] = {}
    methods: set[str] = set()
    for method, name, pattern, value in _SETTINGS:
        if found := pattern.search(plain):
            said.setdefault(name, value(found))
            methods.add(method)
            plain = pattern.sub(" ", plain)
    return said or None, methods.pop() if len(methods) == 1 else None, plain
