"""The form of `manifest.json`: its JSON schema, and the parts of a document that break it, in words.

Both are made from the records, so that they cannot drift from the manifests written. Knows forms; opens no file and
checks no hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lqmf.records import InvalidRecord, Manifest, QuantizationPlan, from_json

VERSION = 1  # of the manifests that this version writes
_DIGEST = re.compile(r"[0-9a-f]{64}")


def schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of a manifest. Keys that it does not name are allowed: a later version may add
    some."""
    from pydantic import TypeAdapter

    whole, plan = (TypeAdapter(record).json_schema() for record in (Manifest, QuantizationPlan))
    parts = {**whole.pop("$defs", {}), **plan.pop("$defs", {}), "QuantizationPlan": plan}
    whole["properties"]["plan"] = {"$ref": "#/$defs/QuantizationPlan"}
    pattern = {"type": "string", "pattern": f"^{_DIGEST.pattern}$"}
    parts["FileEntry"]["properties"]["sha256"] = pattern
    whole["properties"]["source_sha256"]["additionalProperties"] = pattern
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "title": "LQMF manifest"}
    return {**described, "$defs": dict(sorted(parts.items()))}


def problems(document: Any) -> list[str]:
    """Return the places where `document` is not in a manifest's form, like "files.0.sha256 is missing"; empty for a
    sound manifest."""
    if not isinstance(document, Mapping):
        return ["the whole is no JSON object"]
    version = document.get("format_version")
    if isinstance(version, int) and version > VERSION:
        return [f"format_version is {version}: a newer LQMF wrote it, and this one knows up to {VERSION}"]
    found = _of(Manifest, document)
    if isinstance(document.get("plan"), Mapping):
        found += [f"plan.{problem}" for problem in _of(QuantizationPlan, document["plan"])]
    return found or [*_of_digests(document)]


def _of(record: type, document: Mapping[str, Any]) -> list[str]:
    try:
        from_json(record, document)
    except InvalidRecord as error:
        return [*error.problems]
    return []


def _of_digests(document: Mapping[str, Any]) -> Iterable[str]:
    told = {f"files.{place}.sha256": entry["sha256"] for place, entry in enumerate(document["files"])}
    told |= {f"source_sha256.{name}": digest for name, digest in document["source_sha256"].items()}
    return (f"{place} is no SHA-256" for place, digest in told.items() if not _DIGEST.fullmatch(digest))
