"""publish: artifacts of one model into one repository of the Hugging Face Hub, with one card. Asks first."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.artifacts import shelf
from lqmf.errors import NeedsInput, Unauthorized, UsageError
from lqmf.operations.hf import TOKEN
from lqmf.operations.result import Cancelled, Result
from lqmf.records import Artifact, Manifest, Question, Request, Task, yes_or_no
from lqmf.units import file_size

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask

SUFFIXES = {"gguf": "GGUF", "gptq": "GPTQ-{bits}bit", "bnb": "bnb-{bits}bit"}  # as publishers on the Hub name them
TO_WRITE = dataclasses.replace(
    TOKEN, reason="It needs write access: https://huggingface.co/settings/tokens makes one, and hf login keeps it."
)


@dataclass(frozen=True)
class Published(Result):
    """The repository with its address, what was put there, and whether it is private."""

    repository: str
    url: str
    artifacts: tuple[str, ...]
    files: tuple[str, ...]
    private: bool

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "done", "repository", "url", "artifacts", "files", "private"}`."""
        return {
            "status": "done",
            "repository": self.repository,
            "url": self.url,
            "artifacts": list(self.artifacts),
            "files": list(self.files),
            "private": self.private,
        }


async def run(app: App, request: Request, ask: Ask) -> Published | Cancelled:
    """Ask, then upload what is named, without a name the newest, with a card that has a row for each. Raises
    UsageError for artifacts that do not belong together, Unauthorized, and the Hub's errors."""
    from lqmf.artifacts.card.repository import repository_card
    from lqmf.hub import publishing

    items = _items(app, request.names or (request.name or request.model,))
    files = _files(items)
    account = await _account(app, ask)
    repository = publishing.checked(_repository(request.to, account["user"], *items[0]))
    there = await publishing.is_private(repository, app.hub)
    if request.private and there is False:
        raise UsageError(f"{repository} exists, and is public.", "Name another by `--to`, or leave `--private` out.")
    private = bool(request.private) if there is None else there
    if not request.force:
        reply = await ask(_sure(repository, app.hub.base_url(), files, private=private, exists=there is not None))
        if reply.kind != "value" or reply.value is not True:
            return Cancelled("Nothing was published.")
    names = tuple(artifact.name for artifact, _ in items)
    with app.pipeline.job("publish", repository) as (context, _):
        params = {
            "repository": repository,
            "files": {path: str(here) for path, here in files.items()},
            "card": repository_card(repository, items),
            "token": app.hub.token_provider(),
            "endpoint": app.hub.base_url(),
            "private": private,
            "message": f"Add {', '.join(artifact.type or artifact.method for artifact, _ in items)}",
        }
        result = await app.runner.run(Task(context.job, "publish", params, context.log), context.emit)
    return Published(repository, str(result["url"]), names, (*files, "README.md"), private)


def _items(app: App, names: Sequence[str | None]) -> list[tuple[Artifact, Manifest]]:
    """Return the artifacts with their manifests. Raises UsageError where they cannot share a repository."""
    found = []
    for artifact in (app.shelf.find(name) for name in names):
        manifest = shelf.manifest_of(artifact)
        if manifest is None:
            raise UsageError(f"{artifact.name} was not made by LQMF: there are no records to write a card from.")
        found.append((artifact, manifest))
    if len({(manifest.model.id, artifact.method) for artifact, manifest in found}) > 1:
        raise UsageError("They come from several models or methods.", "Publish each model in a repository of its own.")
    if len(found) > 1 and found[0][0].method != "gguf":
        raise UsageError("Only GGUF files share a repository.", "Name one artifact.")
    return found


def _files(items: Sequence[tuple[Artifact, Manifest]]) -> dict[str, Path]:
    """Return what goes up, by its path there: the weights, and what belongs to them. Raises UsageError for two files
    of one name."""
    files: dict[str, Path] = {}
    for artifact, manifest in items:
        entries = [entry.path for entry in manifest.files if entry.immutable]
        for path in [path for path in entries if artifact.method != "gguf" or path.endswith(".gguf")]:
            if path in files:
                raise UsageError(f"Two of them have a file {path}.", "Name one of the two.")
            files[path] = Path(artifact.path) / path
    return files


async def _account(app: App, ask: Ask) -> Mapping[str, Any]:
    """Return whose token is in use; without one, ask for it. Raises Unauthorized for none and for one that cannot
    write."""
    from lqmf.hub import auth
    from lqmf.hub.publishing import WRITING

    endpoint = app.hub.base_url()
    account = await asyncio.to_thread(auth.status, endpoint=endpoint, said=app.tokens())
    if not account["logged_in"]:
        nobody = Unauthorized("Publishing needs a Hugging Face token, and there is none.", WRITING)
        try:
            reply = await ask(TO_WRITE)
        except NeedsInput:
            raise nobody from None
        if reply.kind != "value" or not reply.value:
            raise nobody
        account = await asyncio.to_thread(auth.login, str(reply.value), endpoint=endpoint)
    if account.get("token_role") == "read":
        raise Unauthorized(f"The token of {account['user']} may only read.", WRITING)
    return account


def _repository(to: str | None, user: str, artifact: Artifact, manifest: Manifest) -> str:
    """Return the repository that was named, else one named as publishers do: `X-GGUF`."""
    if to:
        return to if "/" in to else f"{user}/{to}"
    model = (manifest.model.path or manifest.model.id).rstrip("/").rpartition("/")[2]
    suffix = SUFFIXES.get(artifact.method, artifact.method).format(bits=artifact.bits)
    name = re.sub(r"[^A-Za-z0-9._-]+|--+|\.\.+", "-", f"{model}-{suffix}").strip("-.")
    return f"{user}/{name}"


def _sure(repository: str, endpoint: str, files: Mapping[str, Path], *, private: bool, exists: bool) -> Question:
    size = file_size(sum(path.stat().st_size for path in files.values()))
    what = f"{len(files)} files ({size})" if len(files) > 1 else f"{next(iter(files))} ({size})"
    seen = "only you see it" if private else "everybody sees it"
    where = (
        f"{endpoint}/{repository}, which exists; its README.md will list only these"
        if exists
        else f"{endpoint}/{repository}"
    )
    return yes_or_no(
        "publish",
        f"Publish {what} at {where}? {seen.capitalize()}.",
        "What is public can be copied by anybody, and the source's licence must allow it.",
    )
