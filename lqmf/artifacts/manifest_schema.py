"""The form of `manifest.json`: its JSON schema, and the reader that names the parts of a document that break it.

Both are made from the records, so that they cannot drift from the manifests written. Knows forms; opens no file and
checks no hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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


def read(document: Any) -> Manifest:
    """Return the manifest in `document`. Raises InvalidRecord, which names every place that is not in a manifest's
    form, like "files.0.sha256 is missing"."""
    version = document.get("format_version") if isinstance(document, Mapping) else None
    if isinstance(version, int) and version > VERSION:
        why = f"a newer LQMF wrote it, and this one knows up to {VERSION}"
        raise InvalidRecord([f"format_version is {version}: {why}"])
    plan = document.get("plan") if isinstance(document, Mapping) else None
    wrong = [f"plan.{problem}" for problem in _wrong(QuantizationPlan, plan)] if isinstance(plan, Mapping) else []
    if wrong := [*_wrong(Manifest, document), *wrong]:
        raise InvalidRecord(wrong)
    found = from_json(Manifest, document)
    told = {f"files.{place}.sha256": entry.sha256 for place, entry in enumerate(found.files)}
    told |= {f"source_sha256.{name}": digest for name, digest in found.source_sha256.items()}
    if wrong := [place for place, digest in told.items() if not _DIGEST.fullmatch(digest)]:
        raise InvalidRecord([f"{place} is no SHA-256" for place in wrong])
    return found


def _wrong(record: type, document: Any) -> tuple[str, ...]:
    try:
        from_json(record, document)
    except InvalidRecord as error:
        return error.problems
    return ()
