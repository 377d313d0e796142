"""The vocabularies: methods, types, providers, settings, slots, and which slots belong to which intent.

Knows the meaning of words. Knows nothing of how sentences are built.
"""

from __future__ import annotations

import re

from lqmf.declared import methods, providers
from lqmf.model_files import gguf_types
from lqmf.understanding.patterns import Pattern, words

INTENTS = words(
    """quantize plan preflight test benchmark compare list show stats history delete verify rebuild report docs
    chat experiment finetune adapters serve publish sweep hf_login hf_status hf_logout llm_status llm_switch config
    doctor demo explain help clear cancel resume exit unknown"""
)

SLOTS = words(
    """model method bits type device memory_gb ram_gb context kv_type parallel target_size_gb format priority
    purpose parameters cpu_fallback calibration test name names status provider topic key value"""
)

# The largest numbers that can be meant; a larger one is refused in words.
MOST = {"bits": 32, "memory_gb": 10**6, "ram_gb": 10**6, "target_size_gb": 10**6, "context": 10**9, "parallel": 10**6}

# ---------------------------------------------------------------- types and methods, as they are declared

GGUF_TYPES: tuple[str, ...] = (*gguf_types.TYPES, *gguf_types.RUN_ONLY)
_OTHERS: dict[str, tuple[str, ...]] = {  # each type that is no GGUF's, with the methods that have it by this name
    name: tuple(method.name for method in methods.offered().values() if name in method.by_name)
    for method in methods.offered().values()
    for name in (*method.by_name, *method.aliases)
    if not re.fullmatch(r"\d+bit", name)  # a number of bits is no name
}
OTHER_TYPES: tuple[str, ...] = (*_OTHERS, gguf_types.AUTO)
_FLOATS = {"fp16": "F16", "float16": "F16", "fp32": "F32", "float32": "F32", "bfloat16": "BF16"}
_SPELLINGS = {
    re.sub(r"[\s_-]", "", spelling.lower()): name
    for spelling, name in (
        *((name, name) for name in (*GGUF_TYPES, *OTHER_TYPES)),
        *gguf_types.SHORT.items(),
        *_FLOATS.items(),
    )
}


def _spaced(name: str) -> str:
    """Return a pattern for a type's name with or without a break before its digits: "nf4", "nf-4", "nf 4"."""
    return re.sub(r"(?<=[a-z])(?=\d)", "[ -]?", re.sub(r"[_-]", "[ _-]?", name.lower()))


OTHER_WORDS = "|".join(_spaced(name) for name in sorted(_OTHERS, key=len, reverse=True))
TYPE = Pattern(
    r"(?<![\w.<])(?:i?q[ _-]\d[ _-]k[ _-](?:m|s|l)|i?q\d[ _-]?k[ _-]?(?:m|s|l)|i?q\d[ _-]?(?:xxs|xs|nl|s|m)"
    r"|i?q\d[_-]?[k01]|tq[12][_-]?0"
    r"|mxfp4(?:_moe)?|nvfp4"
    rf"|bf16|bfloat16|fp?16|fp?32|float16|float32|{OTHER_WORDS}"
    r"|(?:(?<=as )|(?<=to )|(?<=type )|(?<=in )|(?<=use )|(?<=with ))auto(?! (?:device|cpu|gpu|fallback|detect|sav))"
    r"|auto(?= (?:type|mix|quant)))(?![\w/]|-\w)",
    re.IGNORECASE,
)


def type_name(spelling: str) -> str | None:
    """Return the type as it is written in slots: "q4_k_m" -> "Q4_K_M", "NF4" -> "nf4"; None for a word that is no
    type."""
    return _SPELLINGS.get(re.sub(r"[\s_-]", "", spelling.lower()))


def type_bits(name: str) -> int | None:
    """Return the bits of a type; None for `auto`."""
    if name in _OTHERS:
        kinds = (one.by_name.get(one.spelled(name)) for one in methods.offered().values())
        return next(kind.bits for kind in kinds if kind)
    return gguf_types.bits(name) or None


def type_method(name: str) -> str | None:
    """Return the only method that has a type of this name or alias; None where there is no such method, or more than
    one."""
    if name in GGUF_TYPES:
        return methods.GGUF.name
    owners, others = _OTHERS.get(name, ()), [one for one in methods.offered().values() if name in one.aliases]
    return owners[0] if len(owners) == 1 and not others else None


def method_has(method: str, name: str) -> bool:
    """Return whether `method` has the type, under any of its names; `auto` may be asked of every method."""
    own = methods.of(method)
    return name == gguf_types.AUTO or type_method(name) == method or name in own.by_name or name in own.aliases


METHOD_WORDS = "|".join(method.words for method in methods.offered().values())
METHOD = Pattern(
    r"(?<![\w<.-])(?:"
    + "|".join(f"(?P<{method.name}>{method.words})" for method in methods.offered().values())
    + r")(?![\w/])"
)

NUMBER_WORDS: dict[str, str] = {
    word: str(number)
    for number, words in {
        1: "one",
        2: "two zwei deux dos dois",
        3: "three drei trois tres",
        4: "four vier quatre cuatro quattro quatro",
        5: "five funf cinq cinco cinque",
        6: "six sechs seis sei",
        7: "seven sieben sept siete sette sete",
        8: "eight acht huit ocho otto oito",
        10: "ten zehn",
        12: "twelve zwolf",
        16: "sixteen sechzehn seize",
        24: "twentyfour twenty-four",
        32: "thirtytwo thirty-two",
    }.items()
    for word in words.split()
}

# ---------------------------------------------------------------- providers and settings

PROVIDERS: dict[str, str] = {one.name: one.words or re.escape(one.name) for one in providers.asked()}
PROVIDER = Pattern(
    r"(?<![\w/<-])(?:" + "|".join(f"(?P<{name}>{words})" for name, words in PROVIDERS.items()) + r")(?![\w/-])"
)

SETTINGS: tuple[str, ...] = (
    *("storage_backend", "models_dir", "quantized_models_dir", "configs_dir", "logs_dir", "mcp_dir", "benchmarks_dir"),
    *("auto_save_plans", "max_retries", "log_level", "llm_provider", "gpu_memory_limit", "cpu_fallback"),
    *("api_host", "api_port", "api_reload"),
)
SETTING = Pattern(
    r"(?<![\w<])(?:"
    + "|".join(
        f"(?P<{key}>{words})"
        for key, words in {
            **{key: key.replace("_", "[ _.-]?") for key in sorted(SETTINGS, key=len, reverse=True)},
            "quantized_models_dir": "quantized[ _-]?models?[ _-]?(?:dir(?:ectory)?|folder)",
            "models_dir": "models?[ _-]?(?:dir(?:ectory)?|folder)",
            "configs_dir": "configs?[ _-]?(?:dir(?:ectory)?|folder)",
            "logs_dir": "logs?[ _-]?(?:dir(?:ectory)?|folder)",
            "benchmarks_dir": "benchmarks?[ _-]?(?:dir(?:ectory)?|folder)",
            "storage_backend": "storage[ _.-]?(?:backend|engine)",
            "auto_save_plans": "auto[ _-]?sav(?:e|ing)[ _-]?(?:of[ _])?plans?",
            "max_retries": "(?:max(?:imum)?[ _-]?(?:number of )?(?:retries|retrys?|attempts))",
            "log_level": "log(?:ging)?[ _-]?level|verbosity",
            "llm_provider": "llm[ _-]?provider",
            "gpu_memory_limit": "(?:gpu|vram)[ _-]?(?:memory[ _-]?)?limit",
            "api_port": "api[ _-]?port",
            "api_host": "api[ _-]?host",
            "api_reload": "api[ _-]?reload",
        }.items()
    )
    + r")(?!\w)"
)

# ---------------------------------------------------------------- which slots an intent takes

_BUILD = words(
    """model method bits type device memory_gb ram_gb context kv_type parallel target_size_gb format priority
    purpose parameters cpu_fallback calibration test"""
)
_NAMED = frozenset({"name", "names", "model"})

INTENT_SLOTS: dict[str, frozenset[str]] = {
    "quantize": _BUILD,
    "plan": _BUILD,
    "sweep": _BUILD,
    "preflight": words("model method type bits device memory_gb ram_gb context kv_type parallel cpu_fallback"),
    "finetune": frozenset({"model", "name", "device", "memory_gb"}),
    "chat": _NAMED | {"device", "context"},
    "serve": _NAMED | {"device", "context"},
    "experiment": _NAMED,
    "benchmark": _NAMED | {"device"},
    "test": _NAMED | {"device", "base"},
    "compare": _NAMED,
    "list": words("model status method bits type"),
    "stats": frozenset({"method"}),
    "history": _NAMED | {"status"},
    "llm_switch": frozenset({"provider"}),
    "llm_status": frozenset({"provider"}),
    "config": frozenset({"key", "value"}),
    "explain": frozenset({"topic"}),
    **{intent: _NAMED for intent in ("show", "delete", "verify", "rebuild", "report", "docs", "publish")},
}

REQUESTS = frozenset(
    {"quantize", "plan", "preflight", "sweep", "finetune"}
)  # about a model that is to become something
ON_ARTIFACTS = words(
    """test benchmark compare show delete verify rebuild report docs chat experiment serve publish history"""
)  # about something made before
ALWAYS_BY_NAME = words("test compare delete verify rebuild docs report history show publish")


def uncaptured(pattern: Pattern) -> str:
    """Return a vocabulary's pattern without its named groups, for use inside another pattern."""
    return re.sub(r"\?P<\w+>", "?:", pattern.pattern)


def is_value(word: str) -> bool:
    """Return whether a word is a method, a type or a number of bits rather than a name."""
    return bool(
        type_name(word)
        or METHOD.fullmatch(word)
        or re.search(r"^\d|bits?$|-only$|^(?:non|re|pre)-|^\w-|-to-|-up$", word)
    )
