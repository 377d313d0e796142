"""Checks the answers of providers: removes terminal escapes, and reads JSON into a schema. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lqmf.errors import BadAnswer
from lqmf.providers.base import Usage
from lqmf.terminal import clean

T = TypeVar("T", bound=BaseModel)

OTHER = "Ask again, or another provider: `lqmf llm switch`."


def cleaned_data(value: Any) -> Any:
    """Return plain JSON data with every text in it cleaned, keys included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): cleaned_data(each) for key, each in value.items()}
    return [cleaned_data(each) for each in value] if isinstance(value, list | tuple) else value


def parse(provider: str, text: str | None, schema: type[T], usage: Usage) -> T:
    """Return the object of `schema` that `text` holds as JSON; where other words stand around it, as of servers that
    pay no heed to the form asked for, the only object in it. Raises BadAnswer, which does not repeat the text."""
    said = (text or "").strip()
    if not said:
        raise bad(f"{provider} gave an empty answer", usage)
    try:
        return schema.model_validate_json(_only_object(said))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
    raise bad(f"{provider} {_wrong(wrong[0], schema)}", usage)


_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)


def _only_object(text: str) -> str:
    """Return the JSON object that stands in `text`, in a fence, behind thoughts or between words; `text` as it is where
    there is none or more than one, or where a brace opens what is never closed: the rest is cut then."""
    rest, found = _THOUGHTS.sub("", text), []
    begin = rest.find("{")
    while begin >= 0:
        try:
            _, end = json.JSONDecoder().raw_decode(rest, begin)
        except (ValueError, RecursionError):
            return text
        found.append(rest[begin:end])
        begin = rest.find("{", end)
    return found[0] if len(found) == 1 else text


def cleaned(provider: str, value: T, usage: Usage) -> T:
    """Return `value` with its texts cleaned. Raises BadAnswer where it then no longer fits its schema."""
    data = value.model_dump(mode="json")
    safe = cleaned_data(data)
    if safe == data:
        return value
    try:
        return type(value).model_validate(safe)
    except ValidationError:
        pass
    raise bad(f"{provider} answered with control characters where names belong", usage)


def bad(what: str, usage: Usage | None = None) -> BadAnswer:
    """Return the error for an answer that cannot be used, with the tokens that it took."""
    spent = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens} if usage else {}
    return BadAnswer(f"{what}.", OTHER, **{name: count for name, count in spent.items() if count is not None})


def _wrong(error: Any, schema: type[BaseModel]) -> str:
    """Return what is wrong with an answer, in words that hold nothing of the answer but names of the schema."""
    if error["type"] == "json_invalid":
        return "answered with something that is not JSON"
    field = next((part for part in error["loc"] if part in schema.model_fields), None)
    return "answered in another form than was asked for" + (f" ({field})" if field else "")
