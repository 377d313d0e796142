"""Makes the grammar that holds a model's answer to a JSON schema. Knows schemas; knows no engine.

llama_cpp makes the grammar (GBNF). The limits added here keep an answer finite and fit to be shown: a model without
sense would fill a string or a list for ever, and an answer that is cut is no JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lqmf.errors import UsageError

Schema = Mapping[str, Any]

MOST_ITEMS = 3  # of a list that the schema leaves open
BYTES = 4  # of one character in UTF-8, and so the most tokens that it takes
# No control characters, no marks that turn the direction of text, nothing of zero width; escapes only where JSON wants.
_CHAR = (
    r'char ::= [^"\\\x00-\x1F\x7F-\x9F\u00AD\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF] '
    r'| [\\] (["\\/nt])'
)


def grammar(schema: str) -> str:
    """Return the GBNF for a document of `schema` (JSON text). Raises UsageError for a schema that has no grammar."""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        order = list(dict.fromkeys(_properties(json.loads(schema))))
        made: str = json_schema_to_gbnf(schema, order)
    except (ValueError, AssertionError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"This JSON schema cannot guide a model: {error}", "Ask for a simpler form.") from error
    return re.sub(r"(?m)^char ::= .*$", lambda _: _CHAR, made)


def _properties(schema: Any) -> Iterator[str]:
    """Yield the names of properties in the schema's order, which is the order to think in."""
    if isinstance(schema, Mapping):
        yield from schema.get("properties") or ()
        for part in schema.values():
            yield from _properties(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _properties(part)


def bounded(schema: Schema, most_characters: int) -> dict[str, Any]:
    """Return `schema` with every open string at most `most_characters` long and every open list at most MOST_ITEMS."""
    return {key: _bounded_part(key, value, most_characters) for key, value in _with_limits(schema, most_characters)}


def _with_limits(schema: Schema, most: int) -> Iterator[tuple[str, Any]]:
    limits = dict(schema)
    if schema.get("type") == "string" and not {"enum", "const", "pattern", "format"} & set(schema):
        limits["maxLength"] = max(min(schema.get("maxLength", most), most), schema.get("minLength", 0))
    if schema.get("type") == "array":
        limits.setdefault("maxItems", max(MOST_ITEMS, schema.get("minItems", 0)))
    yield from limits.items()


def _bounded_part(key: str, value: Any, most: int) -> Any:
    if key in ("properties", "$defs", "definitions") and isinstance(value, Mapping):
        return {name: bounded(part, most) for name, part in value.items()}
    if isinstance(value, Mapping):
        return bounded(value, most)
    if isinstance(value, list) and key != "enum":
        return [bounded(part, most) if isinstance(part, Mapping) else part for part in value]
    return value


def most_characters(schema: Schema, room_tokens: int, *, tokens_a_character: float = 1.0) -> int:
    """Return how many characters each open string of `schema` may have so that an answer ends within `room_tokens`."""
    strings, structure = _count(schema, schema)
    return max(1, int((room_tokens - structure - 1) / (max(1, strings) * tokens_a_character)))


def _count(part: Any, whole: Schema) -> tuple[int, int]:
    """Return the number of open strings, and of all other characters, that an answer may have; of alternatives the
    larger. All other characters are ASCII: each is a token at most."""
    if "$ref" in part:
        return _count(_referred(part["$ref"], whole), whole)
    alternatives = [_count(one, whole) for key in ("anyOf", "oneOf") for one in part.get(key) or ()]
    if alternatives:
        return max(a for a, _ in alternatives), max(b for _, b in alternatives)
    if part.get("type") == "array":
        times = part.get("maxItems", MOST_ITEMS)
        strings, structure = _count(part.get("items", {}), whole)
        return times * strings, times * (structure + 2) + 3
    if "properties" in part:
        return _count_object(part["properties"], whole)
    if "enum" in part or "const" in part:
        return 0, 1 + max(len(json.dumps(value)) for value in part.get("enum", [part.get("const")]))
    return (1, 3) if part.get("type") == "string" else (0, _NUMBER)


def _count_object(properties: Mapping[str, Any], whole: Schema) -> tuple[int, int]:
    counts = [_count(value, whole) for value in properties.values()]
    names = sum(len(json.dumps(name)) + 4 for name in properties)  # with the colon, the comma and a space after each
    return sum(strings for strings, _ in counts), sum(structure for _, structure in counts) + names + 4


_NUMBER = 40  # characters of the longest number that the grammar of llama_cpp lets through


def _referred(reference: str, whole: Schema) -> Any:
    """Return the part of the schema that "#/$defs/Name" names."""
    found: Any = whole
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found
