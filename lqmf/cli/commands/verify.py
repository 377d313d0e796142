"""`lqmf verify`: is an artifact still what its manifest says: form, hashes, signature, loading, first predictions?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lqmf.artifacts import signing, verify
from lqmf.artifacts.verify import Finding
from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.errors import JobCancelled, UsageError
from lqmf.records import Artifact, Decision, Outcome, Question, to_json

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "verify",
    "check an artifact's files, manifest and signature, and run it",
    intents=("verify",),
    examples=(
        "lqmf verify demo_gguf_4bit_Q4_K_M",
        "lqmf verify Q4_K_M --quick --json",
        "lqmf verify Q4_K_M --sign ~/keys/mine.pem --new-key",
        "lqmf verify Q4_K_M --key ~/keys/mine.public.pem",
    ),
    order=100,
    panel="Housekeeping",
    names_artifacts=True,
)


def cli(
    name: options.RequiredName,
    quick: Annotated[bool, typer.Option("--quick", help="Do not load it: form, hashes and signature alone.")] = False,
    key: Annotated[
        str | None, typer.Option("--key", metavar="PUBLIC.pem", help="Check the signature with this Ed25519 key.")
    ] = None,
    sign: Annotated[
        str | None, typer.Option("--sign", metavar="PRIVATE.pem", help="Sign the manifest, if all else is right.")
    ] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="With --sign: make that key first.")] = False,
) -> Decision:
    """Check the artifact NAME against its manifest, load it and look at its first predictions. Exit 1 when something
    is not as it was made."""
    if new_key and not sign:
        raise UsageError("--new-key needs --sign, which says where the key is to lie.", "`--sign mine.pem --new-key`")
    return options.typed("verify", name=name, quick=quick or None, key=key, sign=sign, new_key=new_key or None)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Check what is named; without a name, the newest."""
    from lqmf.cli.views.verified import verified_view

    slots = decision.slots
    artifact = app.pipeline.find(slots.get("name"))
    folder, document = Path(artifact.path), verify.manifest_of(artifact)
    private = await asyncio.to_thread(_key, app, slots) if slots.get("sign") else None
    findings, files = [verify.form(document)], list[dict[str, Any]]()
    if findings[0].passed:
        files = await asyncio.to_thread(verify.hashed, folder, document["files"], app.bus.publish)
        findings.append(verify.intact(files))
    findings += await _signature(folder, slots.get("key"))
    if not slots.get("quick") and all(one.passed for one in findings if one.name in ("manifest", "files")):
        findings += await _run(app, artifact)
    extra = verify.unlisted(folder, files)
    if extra and (slots.get("key") or private):  # a file that nobody signed may be read before one that was
        findings.append(Finding("unlisted", False, f"not in the manifest: {', '.join(extra)}"))
    sound = all(one.passed is not False for one in findings)
    signed = await _signed(folder, private, ask) if private and sound else None
    data = {"status": "ok" if sound else "failed", "artifact": artifact.name, "checks": to_json(findings)}
    data |= {"files": files, "unlisted": extra, "signed_with": signed}
    view = verified_view(artifact.name, findings, files, extra, signed, refused=bool(private) and not sound)
    return Outcome(data, view, exit_code=0 if sound else 1)


async def _run(app: App, artifact: Artifact) -> list[Finding]:
    from lqmf.jobs.journal import new_id

    job = new_id()
    return await verify.running(artifact, app.runner.run, job, app.executor.log(job), app.bus.publish)


async def _signature(folder: Path, key: str | None) -> list[Finding]:
    """What the signature comes to with the user's key; without one, only that there is one."""
    if key:
        return [Finding(**to_json(await asyncio.to_thread(signing.check, folder, Path(key).expanduser())))]
    if name := signing.signer(folder):
        return [Finding("signature", None, f"signed with {name}, it says: `--key PUBLIC.pem` checks it")]
    return []


def _key(app: App, slots: Any) -> Path:
    """The private key to sign with, made now where that is wished. Raises UsageError for one in the workspace."""
    private = Path(slots["sign"]).expanduser().absolute()
    if private.resolve().is_relative_to(app.root.resolve()):
        raise UsageError(
            f"{private} lies in the workspace, which is there to be shared and copied.",
            f"Keep the key elsewhere: `--sign {Path.home() / private.name}`.",
        )
    if slots.get("new_key"):
        signing.new_key(private)
    return private


async def _signed(folder: Path, private: Path, ask: Ask) -> str:
    """Sign; a passphrase is asked for where the key has one. Gives the key's fingerprint."""
    passphrase = None
    if signing.is_locked(private):
        text = f"The passphrase of {private.name} (nothing is shown):"
        reply = await ask(Question("passphrase", text, kind="secret"))
        if reply.kind != "value":
            raise JobCancelled("Nothing was signed.", "`lqmf verify NAME --sign PRIVATE.pem`")
        passphrase = str(reply.value)
    return await asyncio.to_thread(signing.sign, folder, private, passphrase)
