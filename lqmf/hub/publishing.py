"""Puts files into a repository of the Hub, in one commit, with the real huggingface_hub client.

Knows the protocol's ends: the repository, the token and what the Hub refuses. Knows no artifact.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from lqmf.errors import ModelNotFound, Unauthorized, UsageError
from lqmf.hub import translate
from lqmf.hub.client import HubClient
from lqmf.hub.translate import Subject

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?", re.ASCII)
HOME = "https://huggingface.co"
WRITING = "Make a token with write access at https://huggingface.co/settings/tokens, then: lqmf hf login"


def checked(repository: str) -> str:
    """Return `repository`, which is to be `owner/name` in the Hub's characters. Raises UsageError."""
    name = repository.partition("/")[2]
    if not _REPOSITORY.fullmatch(repository) or "--" in name or ".." in name or len(repository) > 96:
        raise UsageError(f"'{repository[:60]}' is no name of a repository.", "Say it like `--to OWNER/NAME`.")
    return repository


async def is_private(repository: str, hub: HubClient) -> bool | None:
    """Return whether a repository is private; None where there is none. Raises the Hub's errors."""
    try:
        return bool((await hub.model_info(repository, None)).private)
    except ModelNotFound:
        return None


def upload(
    repository: str, files: Mapping[str, Path | bytes], *, token: str, endpoint: str, private: bool, message: str
) -> str:
    """Make the repository if there is none, commit `files` (by their path in it), and return its address. Raises
    Unauthorized for a token that may not write there, and the Hub's errors."""
    if endpoint != HOME:
        os.environ["HF_HUB_DISABLE_XET"] = "1"  # Xet is huggingface.co's own; read when huggingface_hub is imported
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=endpoint, token=token, library_name="lqmf")
    with translate.translated(Subject(endpoint, repository, with_token=True)):
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            added = [CommitOperationAdd(path, content) for path, content in files.items()]
            api.create_commit(repository, added, commit_message=message)
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code == 403:
                raise Unauthorized(f"Your token may not write to {repository}.", WRITING) from None
            raise
    return f"{endpoint}/{repository}"
