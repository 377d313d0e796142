"""The page's colours can be read (WCAG 2.2: 4.5 for words, 3 for marks) and told apart by eyes that lack a cone."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from lqmf.report.page import ASSETS
from lqmf.report.parts import HEAT, SERIES

STYLE = (ASSETS / "page.css").read_text(encoding="utf-8")
DARK = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", STYLE[STYLE.index("@media") :]))
LIGHT = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", STYLE[: STYLE.index("@media")]))
# Machado, Oliveira and Fernandes (2009), severity 1.0, in linear RGB
DEFICIENT = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB, D65."""
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = matrix @ np.clip(rgb, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_words_and_marks_stand_out_from_what_they_stand_on(theme: dict[str, str]) -> None:
    for ground in (theme["ground"], theme["surface"]):
        for words in ("ink", "quiet", "link", "bad"):
            assert contrast(theme[words], ground) >= 4.5, (words, ground)
        for place in range(1, SERIES + 1):
            assert contrast(theme[f"series-{place}"], ground) >= 3, (place, ground)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_from_least_to_most_a_heat_map_only_gets_stronger(theme: dict[str, str]) -> None:
    steps = [contrast(theme[f"heat-{place}"], theme["ground"]) for place in range(1, HEAT + 1)]
    assert steps == sorted(steps)
    assert all(later > 1.2 * earlier for earlier, later in itertools.pairwise(steps)), steps


@pytest.mark.parametrize("kind", [None, *DEFICIENT])
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_first_four_series_are_told_apart_by_all_eyes(theme: dict[str, str], kind: str | None) -> None:
    """Beyond 11 in CIELAB two colours look different side by side; shapes tell the others apart."""
    eye = np.array(DEFICIENT[kind]) if kind else np.eye(3)
    seen = [lab(eye @ linear(theme[f"series-{place}"])) for place in range(1, 5)]
    distances = {
        (one + 1, other + 1): float(np.linalg.norm(seen[one] - seen[other]))
        for one, other in itertools.combinations(range(4), 2)
    }
    assert min(distances.values()) > 11, distances
