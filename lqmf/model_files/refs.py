"""Reads the MODEL that the user typed as a reference. Knows names and paths; knows no network and no files' contents.

A path begins with `./`, `../`, `/`, `~` or a drive letter (or is `.`); `demo` is the bundled model; any other text is a
familiar name (the caller gives the alias table) or a Hub id, `org/name[@revision]`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from lqmf import assets
from lqmf.errors import ModelNotFound, UnsupportedModel, UsageError
from lqmf.records import ModelRef

DEMO_FOLDER = assets.FOLDER / "demo"

_PATH = re.compile(r"\.{1,2}$|\.{1,2}[/\\]|/|~|[A-Za-z]:[/\\]|\\\\")
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,254}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_URL = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/")
_PAGE = re.compile(r"(?P<id>[^/]+/[^/]+)/(?:tree|blob|resolve|raw|commit)/(?P<revision>[^/]+)(?:/.*)?")
_HOW = "Type a Hub id (org/name or org/name@revision), a folder (./folder) or a familiar name (mistral 7b)."


def parse_ref(text: str, *, canonical: Callable[[str], str | None]) -> ModelRef:
    """Return the reference to the model that `text` names. `canonical` turns a familiar name into a Hub id, or gives
    None.

    Raises UsageError for a text that can be no model's name, ModelNotFound for a folder that does not exist.
    """
    text = text.strip()
    if any(unicodedata.category(c) == "Cc" for c in text):
        raise UsageError(f"The model name {printable(text)!r} holds control characters.", _HOW)
    if not text:
        raise UsageError("No model was named.", _HOW)
    if text == "demo":
        return ModelRef("demo", "demo", path=str(DEMO_FOLDER))
    if _PATH.match(text):
        return _local(text)
    return _hub(_of_page(text) if _URL.match(text) else text.rstrip("/"), canonical)


def _of_page(address: str) -> str:
    """Return the model, and the revision where it names one, of a page of the Hub: org/name[@revision]."""
    path = _URL.sub("", address).partition("?")[0].partition("#")[0].rstrip("/")
    page = _PAGE.fullmatch(path)
    return f"{page['id']}@{unquote(page['revision'])}" if page else path


def printable(text: str, limit: int = 200) -> str:
    """Return `text`, cut to `limit` characters, with characters that could steer a terminal (control, format and
    surrogate characters) written as escapes."""
    shown = "".join(c if unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in text[:limit])
    return shown + ("…" if len(text) > limit else "")


def is_commit(text: str) -> bool:
    """Return whether `text` is a whole commit hash (40 hex digits), and so safe as a folder's name."""
    return bool(_COMMIT.fullmatch(text))


def is_repo_id(text: str) -> bool:
    """Return whether `text` is an id by the Hub's rules: `name` or `org/name`, at most 96 characters, no `--`, no `..`,
    no `.git` at the end."""
    parts = text.split("/")
    return (
        len(text) <= 96
        and len(parts) <= 2
        and all(_PART.fullmatch(part) for part in parts)
        and "--" not in text
        and ".." not in text
        and not text.endswith(".git")
    )


def _local(text: str) -> ModelRef:
    try:
        folder = Path(os.path.expanduser(text)).resolve()
        found = folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # a loop of links, an unknown ~user, a name too long
        folder, found = Path(text), False
    if found:
        return ModelRef("local", folder.name or str(folder), path=str(folder))
    if folder.is_file() and folder.suffix.lower() == ".gguf":
        raise UnsupportedModel(
            f"{printable(text)} is a GGUF that is made already.",
            f"`lqmf test {printable(text)}` measures it as it is. To quantize anew: name the model that it was made "
            "from.",
        )
    what = "is a file, not a folder" if folder.is_file() else "does not exist"
    raise ModelNotFound(
        f"The model folder {printable(text)} {what}.",
        "Name the folder that holds config.json and the *.safetensors files; a Hub id has no ./ before it.",
    )


def _hub(text: str, canonical: Callable[[str], str | None]) -> ModelRef:
    name, at, revision = text.partition("@")
    if at and not _is_revision(revision):
        raise UsageError(
            f"'{printable(revision)}' is no revision: a branch, a tag or a commit follows the @.",
            "Type org/name@main, or leave the @ away.",
        )
    known = name if "/" in name else canonical(name)
    if known is None:
        raise UsageError(f"'{printable(name)}' is no model name that LQMF knows.", _HOW)
    if not is_repo_id(known):
        raise UsageError(f"'{printable(name)}' is no Hub id: {_why_not(known)}.", _remedy(name))
    return ModelRef("hub", known, revision=revision or None)


def _is_revision(text: str) -> bool:
    return bool(_REVISION.fullmatch(text)) and ".." not in text and "//" not in text and not text.endswith(("/", "."))


def _why_not(name: str) -> str:
    if ".." in name:
        return "'..' leads out of the Hub"
    if name.count("/") > 1:
        return "it has the form org/name, with one slash"
    if len(name) > 96:
        return "it is longer than 96 characters"
    return "only letters, digits, '-', '_' and '.' are allowed, and no '--' or '.git'"


def _remedy(name: str) -> str:
    try:
        is_folder = Path(name).is_dir()
    except (OSError, ValueError):
        is_folder = False
    return f"There is a folder of that name: type ./{printable(name)}" if is_folder else _HOW
