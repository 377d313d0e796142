"""Checks whether a model's chat template renders a small dialogue, and renders given dialogues to text.

A template is a stranger's program: the sandbox keeps it from files, but not from running for ever or filling the
memory. So it runs in a child process (`python -m lqmf.model_files.template_check`) with little time and memory. Knows
no model.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from lqmf import child_process, workspace
from lqmf.errors import UsageError
from lqmf.records import from_json, to_json

_MOST_SECONDS, _MOST_BYTES = 5, 1 << 30  # of the child: processor time, and address space
_LONGEST = 300  # characters of what a template says of itself
_QUESTION = "What is a list?"
_DIALOGUE = (
    {"role": "user", "content": _QUESTION},
    {"role": "assistant", "content": "A mutable sequence."},
    {"role": "user", "content": "And a tuple?"},
)


@dataclass(frozen=True)
class Template:
    """The verdict on a chat template: whether it renders a small dialogue."""

    state: Literal["renders", "fails", "none", "unknown"]
    detail: str = ""


_ENDLESS = Template("fails", "The model's chat template takes more time or memory than rendering can.")


@dataclass(frozen=True)
class Rendered:
    """One dialogue as a template renders it: its text, or None and the reason for the refusal."""

    text: str | None
    refusal: str = ""

    @property
    def endless(self) -> bool:
        """Return whether rendering took more time or memory than it may."""
        return self.refusal == _ENDLESS.detail


def template_verdict(folder: Path) -> Template:
    """Return whether the chat template in `folder` renders a small dialogue, in the sandbox that engines use.

    The template is looked up as transformers does: chat_template.jinja, chat_template.json, then tokenizer_config.json.
    The turns are given as text and, if the template fails or drops the text, as lists of parts, which the templates of
    some image models want.
    """
    template = template_of(folder)
    if not template:
        return Template("none")
    config = workspace.kept_json(folder / "tokenizer_config.json")
    tokens = {name: _token(config.get(f"{name}_token")) for name in ("bos", "eos")}
    told = _in_child({"template": template, "tokens": tokens})
    return from_json(Template, told[0]) if told else _ENDLESS


def renderings(template: str, dialogues: Sequence[Mapping[str, Any]], *, bos: str, eos: str) -> list[Rendered]:
    """Return each of `dialogues` as `template` renders it. A dialogue is {"messages", "tools", "add_generation_prompt"}
    as `chat_template.render` takes them; `bos` and `eos` are the tokens that the template may name, as text."""
    told = _in_child({"template": template, "tokens": {"bos": bos, "eos": eos}, "dialogues": list(dialogues)})
    made = [from_json(Rendered, each) for each in told]
    return made + [Rendered(None, _ENDLESS.detail)] * (len(dialogues) - len(made))


def _in_child(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects that the child process sends for `request`; fewer, or none, if it came to its limits."""
    told: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="lqmf-template-") as place:
        file = Path(place) / "request.json"
        file.write_text(json.dumps(request), encoding="utf-8")
        child_process.run("lqmf.model_files.template_check", {"file": str(file)}, Path(place), told.append, quiet=True)
    return told


def _each(template: str, dialogues: Sequence[Mapping[str, Any]], tokens: Mapping[str, str]) -> Iterator[Rendered]:
    from lqmf.model_files import chat_template

    for dialogue in dialogues:
        try:
            yield Rendered(chat_template.render(template, bos=tokens["bos"], eos=tokens["eos"], **dialogue))
        except UsageError as error:
            yield Rendered(None, error.message[:_LONGEST])


def _render(template: str, tokens: Mapping[str, str]) -> Template:
    parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in _DIALOGUE]
    text = _attempt(template, _DIALOGUE, tokens)
    if text.state == "renders" or _attempt(template, parts, tokens).state != "renders":
        return text
    return Template("renders", "it renders a dialogue, given in parts")


def _attempt(template: str, turns: Sequence[Mapping[str, Any]], tokens: Mapping[str, str]) -> Template:
    from lqmf.model_files import chat_template

    try:
        made = chat_template.render(template, turns, bos=tokens["bos"], eos=tokens["eos"])
    except UsageError as error:
        return Template("fails", error.message[:_LONGEST])
    if _QUESTION not in made:
        return Template("fails", "The model's chat template leaves out what the user says.")
    return Template("renders", "it renders a dialogue")


def template_of(folder: Path) -> str:
    """Return the chat template in `folder`; empty if there is none. Of several by name, the template called default,
    else the first."""
    config = workspace.kept_json(folder / "tokenizer_config.json")
    alone = folder / "chat_template.jinja"
    if alone.is_file():
        return alone.read_text(encoding="utf-8", errors="replace")
    said = workspace.kept_json(folder / "chat_template.json").get("chat_template") or config.get("chat_template")
    if isinstance(said, list):  # several by name
        named = {str(entry.get("name")): entry.get("template") for entry in said if isinstance(entry, dict)}
        said = named.get("default") or next(iter(named.values()), None)
    return said if isinstance(said, str) else ""


def _token(said: object) -> str:
    """A special token as tokenizer_config.json has it: its text, or an object with its text."""
    return str(said.get("content") or "") if isinstance(said, dict) else str(said or "")


def main() -> int:
    """Render, in the child process, the dialogues of the request's file and send an object for each; without dialogues,
    send the verdict on the template."""
    send = child_process.claim_stdout()
    child_process.end_with_parent()
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    request = json.loads(Path(json.loads(sys.argv[1])["file"]).read_text(encoding="utf-8"))
    if (dialogues := request.get("dialogues")) is None:
        send(to_json(_render(request["template"], request["tokens"])))
    else:
        for made in _each(request["template"], dialogues, request["tokens"]):
            send(to_json(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
