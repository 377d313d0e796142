"""How a turn that went wrong is told: in words with the next command, as JSON, and, where unforeseen, in the log.

Knows the error tree and typer's errors; decides nothing about what happens next.
"""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.cli.render import Screen
from lqmf.errors import JobCancelled, LqmfError, NeedsInput, UsageError
from lqmf.records import Outcome, Question

if TYPE_CHECKING:
    from typer import TyperException

LOG = "lqmf.log"


def failed(error: LqmfError, screen: Screen) -> Outcome:
    """Say what went wrong; the outcome carries its JSON and its exit code."""
    screen.pause_progress()
    if error.exit_code == JobCancelled.exit_code:
        screen.notice(error.message)
    else:
        screen.error(error.message, error.remedy)
    return Outcome(as_document(error), None, error.exit_code)


def as_document(error: LqmfError) -> dict[str, Any]:
    """The error as a `--json` document; open questions have a form of their own."""
    if isinstance(error, NeedsInput):
        return {"status": "needs_input", "questions": [_asked(question) for question in error.questions]}
    return {"error": error.to_json()}


def _asked(question: Question) -> dict[str, Any]:
    options = [{"value": option.value, "label": option.label} for option in question.options]
    return {"id": question.id, "text": question.text, "options": options, "default": question.default}


def usage(error: TyperException) -> UsageError:
    """A mistake on the command line, as typer found it, in our words and with where to read on."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "lqmf"
    message = error.format_message().replace("Value error, ", "", 1).rstrip(".")
    return UsageError(f"{message}.", f"`{command} --help` shows how it is used.")


def is_of_an_option(error: TyperException) -> bool:
    """Whether an option that there is has no value, or one that it cannot take."""
    option = getattr(getattr(error, "param", None), "param_type_name", None) == "option"
    return option or error.format_message().startswith("Option '-")


def unexpected(error: BaseException, screen: Screen, logs: Callable[[], Path], *, verbose: bool) -> Outcome:
    """Tell a fault of LQMF's own: one sentence on the screen, the traceback in a file of the folder that `logs` gives,
    and on the screen if `verbose`."""
    text = "".join(traceback.format_exception(error))
    message = f"LQMF made a mistake: {type(error).__name__}: {error}".rstrip(". ") + "."
    path = _log(text, logs)
    remedy = f"The traceback is in {path}; please report it." if path else "`--verbose` shows the traceback."
    screen.pause_progress()
    if verbose:
        screen.error(text.rstrip())
    screen.error(message, remedy)
    return Outcome({"error": {"code": "internal", "message": message, "remedy": remedy}}, None, 1)


def _log(text: str, logs: Callable[[], Path]) -> Path | None:
    from lqmf.hub.auth import redact

    try:
        path = logs() / LOG
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{datetime.datetime.now().isoformat(timespec='seconds')}\n{redact(text)}\n")
    except (OSError, LqmfError):
        return None
    return path
