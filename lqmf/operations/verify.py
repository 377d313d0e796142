"""verify: is an artifact still what its manifest says: form, hashes, signature, loading, first predictions?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.artifacts import signing, verify
from lqmf.artifacts.verify import Finding
from lqmf.errors import JobCancelled, UsageError
from lqmf.jobs.journal import new_id
from lqmf.operations.result import Result
from lqmf.records import Artifact, Question, Request, to_json

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Verified(Result):
    """What was found. `files` are the manifest's, each with its problem or None; `signed_with` is the fingerprint of
    the key that signed it now; `to_sign` says whether a signature was asked for."""

    artifact: str
    findings: tuple[Finding, ...]
    files: tuple[Mapping[str, Any], ...]
    unlisted: tuple[str, ...]
    signed_with: str | None
    to_sign: bool

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(finding.passed is not False for finding in self.findings)

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "ok"/"failed", "artifact", "checks", "files", "unlisted", "signed_with"}`."""
        return {
            "status": "ok" if self.ok else "failed",
            "artifact": self.artifact,
            "checks": to_json(self.findings),
            "files": to_json(self.files),
            "unlisted": to_json(self.unlisted),
            "signed_with": self.signed_with,
        }


async def run(app: App, request: Request, ask: Ask) -> Verified:
    """Check the artifact that is named, without a name the newest; sign it where that is asked for and all is well."""
    artifact = app.shelf.find(request.name)
    folder, (formed, manifest) = Path(artifact.path), verify.read(artifact)
    private = await asyncio.to_thread(_key, app, request) if request.sign else None
    findings, files = [formed], list[dict[str, Any]]()
    if manifest is not None:
        files = await asyncio.to_thread(verify.hashed, folder, manifest.files, app.bus.publish)
        findings.append(verify.intact(files))
    findings += await _signature(folder, request.key)
    if not request.quick and all(one.passed for one in findings if one.name in ("manifest", "files")):
        findings += await _loaded(app, artifact)
    extra = verify.unlisted(folder, files)
    if extra and (request.key or private):  # a file that nobody signed may be read before one that was
        findings.append(Finding("unlisted", False, f"not in the manifest: {', '.join(extra)}"))
    found = Verified(artifact.name, tuple(findings), tuple(files), tuple(extra), None, private is not None)
    if private is None or not found.ok:
        return found
    signed = await _signed(folder, private, ask)
    return Verified(found.artifact, found.findings, found.files, found.unlisted, signed, to_sign=True)


async def _loaded(app: App, artifact: Artifact) -> list[Finding]:
    job = new_id()
    return await verify.running(artifact, app.runner.run, job, app.executor.log(job), app.bus.publish)


async def _signature(folder: Path, key: str | None) -> list[Finding]:
    """Return what the signature comes to with the user's key; without a key, only that there is a signature."""
    if key:
        return [Finding(**to_json(await asyncio.to_thread(signing.check, folder, Path(key).expanduser())))]
    if name := signing.signer(folder):
        return [Finding("signature", None, f"signed with {name}, it says: `--key PUBLIC.pem` checks it")]
    return []


def _key(app: App, request: Request) -> Path:
    """Return the private key to sign with, made now on request. Raises UsageError for one in the workspace."""
    private = Path(str(request.sign)).expanduser().absolute()
    if private.resolve().is_relative_to(app.root.resolve()):
        raise UsageError(
            f"{private} lies in the workspace, which is there to be shared and copied.",
            f"Keep the key elsewhere: `--sign {Path.home() / private.name}`.",
        )
    if request.new_key:
        signing.new_key(private)
    return private


async def _signed(folder: Path, private: Path, ask: Ask) -> str:
    """Sign, and return the key's fingerprint; a passphrase is asked for where the key has one."""
    passphrase = None
    if signing.is_locked(private):
        text = f"The passphrase of {private.name} (shown as stars):"
        reply = await ask(Question("passphrase", text, kind="secret"))
        if reply.kind != "value":
            raise JobCancelled("Nothing was signed.", "`lqmf verify NAME --sign PRIVATE.pem`")
        passphrase = str(reply.value)
    return await asyncio.to_thread(signing.sign, folder, private, passphrase)
