"""Reads a calibration text from a dataset on the Hub: `hub:org/name[:split[:column]]`.

Reads .jsonl, .json (of JSON lines) and .txt files through the real huggingface_hub client, which keeps them in its own
cache. Knows nothing of tokens. Parquet is read where pyarrow is installed.
"""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf.errors import ModelNotFound, UsageError
from lqmf.hub import translate
from lqmf.hub.client import HubClient
from lqmf.model_files.refs import is_repo_id
from lqmf.texts.calibration_text import HUB, CalibrationText, of_bytes

_ENDINGS = (".jsonl", ".json", ".txt", ".parquet")
_READ_BYTES = 16 << 20  # of the file: far more than any calibration reads


@dataclass(frozen=True)
class Dataset:
    """A dataset on the Hub. `split` is looked for in the files' names; `column` is the field of each row that holds the
    text."""

    id: str
    split: str = "train"
    column: str = "text"


def parse(said: str) -> Dataset:
    """Parse `said` into the dataset that it names. Raises UsageError for text that names no dataset."""
    name, *rest = said.removeprefix(HUB).split(":")
    if not is_repo_id(name) or len(rest) > 2 or not all(rest):
        raise UsageError(
            f"'{said}' names no dataset of the Hub.", "Write it as hub:org/name, hub:org/name:split or ...:column."
        )
    return Dataset(name, *rest)


def fetch(said: str, client: HubClient | None = None) -> CalibrationText:
    """Fetch the text of the dataset that `said` names: the first file of its split.

    Raises UsageError when it holds no text that can be read, and the transfer errors of the Hub.
    """
    dataset, client = parse(said), client or HubClient()
    try:
        path = _download(client, dataset)
    except ModelNotFound as error:
        what = f"There is no dataset {dataset.id} at {client.base_url()}."
        raise UsageError(what, "Check its name; one that is private or gated needs: lqmf hf login") from error
    name, found = f"{HUB}{dataset.id}:{path.name}", _found(path, dataset)
    if isinstance(found[0], str):
        return of_bytes(name, "\n\n".join(found).encode(), rows=False)
    lines = (json.dumps({"messages": messages}, ensure_ascii=False) for messages in found)
    return of_bytes(name, "\n".join(lines).encode(), rows=True)


def _download(client: HubClient, dataset: Dataset) -> Path:
    from huggingface_hub import HfApi

    subject = client.subject(f"datasets/{dataset.id}")
    info = client.dataset_info(dataset.id)
    name = _choose([file.rfilename for file in info.siblings or ()], dataset)
    with translate.translated(subject):
        api = HfApi(endpoint=client.base_url(), token=client.token_provider() or False, library_name="lqmf")
        return Path(api.hf_hub_download(dataset.id, name, repo_type="dataset", revision=info.sha))


def _choose(files: list[str], dataset: Dataset) -> str:
    """Return the first readable file whose path names the split, plain formats before parquet; without such a file, for
    the split "train", the first readable file. Raises UsageError otherwise."""
    readable = sorted((f for f in files if f.endswith(_ENDINGS)), key=lambda f: (f.endswith(".parquet"), f))
    mine = [f for f in readable if dataset.split in re.split(r"[^a-z0-9]+", f.lower())]
    if not mine and (dataset.split != "train" or not readable):
        raise UsageError(
            f"The dataset {dataset.id} has no .jsonl, .txt or .parquet file of a split '{dataset.split}'.",
            "Name one of its splits (hub:org/name:split), or download a file and give its path.",
        )
    return (mine or readable)[0]


def _found(path: Path, dataset: Dataset) -> list[Any]:
    """Return the values of the column, row by row, up to the limit of bytes: texts, or lists of messages."""
    if path.suffix == ".parquet":
        return _parquet(path, dataset)
    with path.open("rb") as file:
        text = file.read(_READ_BYTES).decode("utf-8", "replace")
    if path.suffix == ".txt":
        return [text]
    rows = [_row(line) for line in text.splitlines()]
    columns = sorted({key for row in rows for key in row})
    return _of_one_kind([row.get(dataset.column) for row in rows], path.name, dataset, columns)


def _of_one_kind(values: list[Any], name: str, dataset: Dataset, columns: list[str]) -> list[Any]:
    for kind in (str, list):
        if found := [value for value in values if isinstance(value, kind)]:
            return found
    raise _no_column(name, dataset, columns)


def _row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _parquet(path: Path, dataset: Dataset) -> list[Any]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")  # the user's own, where there is one
    except ImportError as error:
        raise UsageError(
            f"{dataset.id} keeps its rows as parquet, which needs pyarrow.",
            "pip install pyarrow, or download the text yourself and give its path.",
        ) from error
    table = parquet.ParquetFile(path)
    if dataset.column not in table.schema_arrow.names:
        raise _no_column(path.name, dataset, list(table.schema_arrow.names))
    found: list[Any] = []
    for batch in table.iter_batches(columns=[dataset.column]):
        found += batch.column(0).to_pylist()
        if sum(len(str(value)) for value in found) > _READ_BYTES:
            break
    return _of_one_kind(found, path.name, dataset, list(table.schema_arrow.names))


def _no_column(name: str, dataset: Dataset, columns: list[str]) -> UsageError:
    known = f" It has {', '.join(columns[:8])}." if columns else ""
    return UsageError(
        f"{name} of {dataset.id} has no text in a column '{dataset.column}'.{known}",
        f"Name the column: hub:{dataset.id}:{dataset.split}:COLUMN",
    )
