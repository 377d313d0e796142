"""docs/architectures.md says what is expected and tested: a page that drifts fails."""

from __future__ import annotations

import re
from pathlib import Path

from tests.architectures import expectations
from tests.architectures.expectations import METHODS

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
EXPECTED = expectations.read()


def test_the_page_has_every_family_with_the_answers_that_are_written_down() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split("|")]
        for line in PAGE.read_text().splitlines()
        if "|" in line
    ]
    found = {row[0]: row for row in rows[2:]}
    assert set(found) == {family.stands_for for family in EXPECTED.families.values()}
    for family in EXPECTED.families.values():
        row = found[family.stands_for]
        assert row[1:3] == [family.architecture, family.kind]
        answers = [re.split(r"\W", cell)[0] for cell in row[3:]]
        assert answers == [family.cells[method].answer for method in METHODS], family.name


def test_every_yes_on_the_page_was_measured_within_its_band_and_its_damage_outside() -> None:
    for family in EXPECTED.families.values():
        line = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| {family.stands_for} |"))
        for method, cell in zip(METHODS, line.strip("| ").split("|")[3:], strict=True):
            if family.cells[method].answer == "no":
                continue
            said = re.search(r"(KL|cosine) ([\d.]+) \(([\d.]+)\)", cell)
            assert said, (family.name, method, cell)
            of = "kl" if said[1] == "KL" else "cosine"
            assert EXPECTED.bands[method].takes(family, {of: float(said[2])})
            assert not EXPECTED.bands[method].takes(family, {of: float(said[3])})
