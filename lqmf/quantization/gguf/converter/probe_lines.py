"""Lines of text that tell pre-tokenizers apart. Knows nothing of tokenizers."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

_PIECES: tuple[tuple[str, ...], ...] = (
    ("the", "Quick", "BROWN", "fox", "naïve", "Straße", "señor", "camelCase", "snake_case", "HTTPServer2", "x"),
    ("don't", "I'm", "we'll", "THEY'RE", "it'S", "I'VE", "he'd", "rock'n'roll", "'s", "''t", "o'clock", "l'été"),
    ("0", "7", "42", "365", "1999", "12345", "1000000", "3.14159", "1,234,567.89", "0xFF", "1e-9", "10:30", "v2.0.1"),
    (" ", "  ", "   ", "        ", "\t", "\t\t", " \t ", "\n", "\n\n", "\n \n", "\r\n", "  \n", "\n    "),
    (".", ",", "!?", "...", "----", "=====", "(", ")", "[]", "{};", "<=>", "&&", "||", "//", "/* */", "#!", "$", "%"),
    ("“quoted”", "«да»", "—", "…", "€", "£9", "±", "≤", "∑", "→", "©", "§3", "™", "`code`", "'''", '"""'),
    ("привет", "Мир", "Ελλάδα", "שלום", "مرحبا", "नमस्ते", "สวัสดี", "ភាសា", "தமிழ்", "ქართული", "tiếng Việt"),
    ("你好", "世界", "我想在apple工作1314天", "こんにちは", "カタカナ", "한국어", "。", "，", "！", "漢字かな交じり"),
    ("🚀", "😶‍🌫️", "👩‍💻", "🇨🇭", "✅", "🦙🦙", "👍🏽", "☕"),
    (
        "def f(x):",
        "    return x**2",
        "a[i]+=1;",
        "if(x!=NULL){",
        "SELECT * FROM t;",
        "</div>",
        "https://ex.org/a?b=c&d=1",
    ),
    ("½", "²", "Ⅷ", "٣", "①", "é", "ﬁ", "ǅ", "ß", "İ"),
)


def sample_lines(text: Path, count: int = 2500, seed: int = 7) -> Iterator[str]:
    """Yield lines that tell pre-tokenizers apart: built from scripts, digits, whitespace, code and contractions, then
    lines and paragraphs of `text`. The lines are the same every time."""
    draw = random.Random(seed)
    for pieces in _PIECES:
        yield from pieces
    for _ in range(count):
        drawn = [draw.choice(draw.choice(_PIECES)) for _ in range(draw.randint(2, 12))]
        yield draw.choice(("", " ", "")).join(drawn)
    lines = [line for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
    yield from draw.sample(lines, min(len(lines), count // 2))
    for _ in range(40):
        start = draw.randrange(max(1, len(lines) - 12))
        yield "\n".join(lines[start : start + 12])


def decomposed(lines: Iterable[str]) -> Iterator[str]:
    """Yield those of `lines` that hold letters with accents or the like, each such letter written as two characters
    (Unicode's form NFD)."""
    for line in lines:
        apart = unicodedata.normalize("NFD", line)
        if apart != line:
            yield apart
