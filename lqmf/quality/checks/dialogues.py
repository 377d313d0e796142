"""The fixed dialogues on which chat templates are tried. Knows messages; no model and no template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "description": "A town."}},
            "required": ["place"],
        },
    },
}


def _said(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


DIALOGUES: Mapping[str, Mapping[str, Any]] = {
    "one question": {"messages": _said(("user", "What is a list?")), "add_generation_prompt": True},
    "a system message": {
        "messages": _said(("system", "Answer in one line."), ("user", "What is a tuple?")),
        "add_generation_prompt": True,
    },
    "several turns": {
        "messages": _said(
            ("user", "Name a colour."),
            ("assistant", "Blue."),
            ("user", "  Another one,\n\nplease. "),
            ("assistant", "Green.\n"),
            ("user", "Thanks."),
        ),
        "add_generation_prompt": True,
    },
    "a finished answer": {
        "messages": _said(("user", "Hello"), ("assistant", "Goodbye")),
        "add_generation_prompt": False,
    },
    "tools": {
        "messages": _said(("user", "How is the weather in Graz?")),
        "tools": [_WEATHER],
        "add_generation_prompt": True,
    },
    "an empty message": {"messages": _said(("user", "")), "add_generation_prompt": True},
    "other scripts": {
        "messages": _said(("system", "Übersetze."), ("user", "Grüße, 世界, привет, مرحبا, 🙂 <|im_end|>")),
        "add_generation_prompt": True,
    },
}

SAMPLE_TEXT = (
    "The quick brown fox jumps over the lazy dog; it didn't stop at 12,345.67 or 3 o'clock.\n"
    "def add(a: int, b: int) -> int:\n    return a + b  # x != y\n\n"
    "Grüße aus Köln, déjà vu, naïve café, Привет мир, 你好世界, こんにちは, مرحبا, 🙂🚀\ttab  two   three\n"
)  # read by both tokenizers; precomposed letters (NFC), which some tokenizers would make of others
