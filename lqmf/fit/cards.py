"""The memory of graphics cards that people name: "my 3060" has 12 GB. One table, and the reader of such names.

Sources: the makers' pages of specifications (nvidia.com/en-us/geforce/graphics-cards/compare and /data-center,
amd.com/en/products/specifications, intel.com/content/www/us/en/products), November 2026. Pure; knows no card that is
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# GB by family and number; where a card was sold with other amounts too, the usual one comes first
_TABLE: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "GTX": {
        "1050 Ti": (4,), "1060": (6, 3), "1070": (8,), "1070 Ti": (8,), "1080": (8,), "1080 Ti": (11,), "1650": (4,),
        "1660": (6,), "1660 Super": (6,), "1660 Ti": (6,),
    },
    "RTX": {
        "2060": (6, 12), "2060 Super": (8,), "2070": (8,), "2070 Super": (8,), "2080": (8,), "2080 Super": (8,),
        "2080 Ti": (11,), "3050": (8, 6), "3060": (12, 8), "3060 Ti": (8,), "3070": (8,), "3070 Ti": (8,),
        "3080": (10, 12), "3080 Ti": (12,), "3090": (24,), "3090 Ti": (24,), "4060": (8,), "4060 Ti": (8, 16),
        "4070": (12,), "4070 Super": (12,), "4070 Ti": (12,), "4070 Ti Super": (16,), "4080": (16,),
        "4080 Super": (16,), "4090": (24,), "5050": (8,), "5060": (8,), "5060 Ti": (16, 8), "5070": (12,),
        "5070 Ti": (16,), "5080": (16,), "5090": (32,), "A2000": (12, 6), "A4000": (16,), "A5000": (24,),
        "A6000": (48,),
    },
    "laptop RTX": {
        "2060": (6,), "2070": (8,), "2080": (8,), "3050": (4, 6), "3060": (6,), "3070": (8,), "3080": (8, 16),
        "4050": (6,), "4060": (8,), "4070": (8,), "4080": (12,), "4090": (16,), "5060": (8,), "5070": (8,),
        "5080": (16,), "5090": (24,),
    },
    "NVIDIA": {
        "T4": (16,), "P40": (24,), "P100": (16,), "V100": (16, 32), "A10": (24,), "A10G": (24,), "L4": (24,),
        "L40": (48,), "L40S": (48,), "A100": (40, 80), "H100": (80,), "H200": (141,),
    },
    "RX": {
        "580": (8, 4), "6600": (8,), "6600 XT": (8,), "6700 XT": (12,), "6800": (16,), "6800 XT": (16,),
        "6900 XT": (16,),
        "7600": (8,), "7600 XT": (16,), "7700 XT": (12,), "7800 XT": (16,), "7900 GRE": (16,), "7900 XT": (20,),
        "7900 XTX": (24,), "9060 XT": (16, 8), "9070": (16,), "9070 XT": (16,),
    },
    "Arc": {"A750": (8,), "A770": (16, 8), "B570": (10,), "B580": (12,)},
}  # fmt: skip
_MOST = 16  # cards in one machine


@dataclass(frozen=True)
class Card:
    """A card, or several of one kind. `memory_gb` is in GiB, all of them together; `also` are the amounts that one was
    sold with too."""

    name: str
    memory_gb: int
    also: tuple[int, ...] = ()

    def __str__(self) -> str:
        others = f"; others of that name have {' or '.join(map(str, self.also))} GB" if self.also else ""
        return f"{self.name}{others}"


def _names() -> dict[str, tuple[str, str]]:
    """Return family and number by the number in small letters."""
    return {
        number.lower(): (family, number)
        for family, numbers in _TABLE.items()
        if family != "laptop RTX"
        for number in numbers
    } | {"4050": ("laptop RTX", "4050")}


_KNOWN = _names()
# Numbers that are also those of processors, screens or else count only behind their family.
_ALONE = {number for number, (family, _) in _KNOWN.items() if family not in ("RX", "Arc") or number[-1].isalpha()}
_NUMBER = "|".join(re.escape(number).replace(r"\ ", "[ -]?") for number in sorted(_KNOWN, key=len, reverse=True))
_CARD = re.compile(
    r"(?<![\w.<-])(?:(?P<count>\d{1,2}) ?x ?)?"
    r"(?P<family>(?:geforce|radeon|nvidia|amd|intel|tesla|rtx|gtx|rx|arc)[ -]?)*"
    rf"(?P<number>{_NUMBER})(?P<laptop> ?(?:laptop|mobile|max-?q)\b)?(?![\w.]|-\d)"
)


def find(plain: str) -> Card | None:
    """Return the last card that a sentence in small letters names; None where it names none that is known."""
    found = None
    for one in _CARD.finditer(plain):
        number = next((known for known in _KNOWN if known.replace(" ", "") == re.sub("[ -]", "", one["number"])), "")
        if not one["family"] and number not in _ALONE:
            continue
        family, shown = _KNOWN[number]
        if (one["laptop"] or "laptop" in plain) and shown in _TABLE["laptop RTX"]:
            family = "laptop RTX"
        count = min(_MOST, max(1, int(one["count"] or 1)))
        usual, *others = _TABLE[family][shown]
        name = f"{f'{count} x ' if count > 1 else ''}{family} {shown}"
        found = Card(name, count * usual, tuple(others) if count == 1 else ())
    return found
