"""Cases of which some stand for their kind: `make test` runs these, `make test-all` runs every case."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def by_kind(cases: Iterable[Any], standing: Collection[Any]) -> list[Any]:
    """The parameters for a test: all `cases`, of which those that are not in `standing` are marked exhaustive."""
    known = list(cases)
    assert not set(standing) - set(known), "a case that stands for others is one of them"
    return [case if case in standing else _exhaustive(case) for case in known]


def _exhaustive(case: Any) -> Any:
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.exhaustive)
