"""What an operation gives back: a frozen record, the same to the terminal, an API and a Python program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lqmf.records import Proposal, to_json


@dataclass(frozen=True)
class Result:
    """The base of every operation's record. Its fields say what came out; nothing in it is drawn."""

    @property
    def ok(self) -> bool:
        """Whether what was asked for came out; a command whose result is not ok ends with exit code 1."""
        return True

    @property
    def proposal(self) -> Proposal | None:
        """What may be done next, if anything."""
        return None

    @property
    def document(self) -> Any:
        """The JSON document that `--json` prints."""
        return to_json(self)

    @property
    def streamed(self) -> bool:
        """Whether `document` is a list of documents, printed a line each."""
        return False


@dataclass(frozen=True)
class Told(Result):
    """A record that another room made ready: it is the JSON document."""

    told: Mapping[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        """The record itself."""
        return dict(self.told)


@dataclass(frozen=True)
class Cancelled(Result):
    """Nothing was done, because the user said so. `text` says what was left undone."""

    text: str

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "cancelled"}`."""
        return {"status": "cancelled"}
