"""Turns errors of huggingface_hub and its HTTP client into LQMF's, by type and status, at this one boundary.

Knows what each status means on the Hub; does no requests itself. No message holds a token or a signed address.
"""

from __future__ import annotations

import email.utils
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from lqmf.errors import (
    ConnectionBroken,
    GatedModel,
    HubUnavailable,
    IncompleteModel,
    LqmfError,
    ModelNotFound,
    NotTheHub,
    Offline,
    RateLimited,
    SettingsError,
    TransferError,
    Unauthorized,
)
from lqmf.model_files.refs import printable
from lqmf.records import InvalidRecord

_RATE_LIMIT = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")


@dataclass(frozen=True)
class Subject:
    """The model, revision and file that a request asked for, so that an error can name them. `path` is a file of the
    repository."""

    endpoint: str
    model: str = ""
    revision: str | None = None
    path: str | None = None
    with_token: bool = False

    def __str__(self) -> str:
        name = self.model + (f"@{self.revision}" if self.revision else "")
        return f"{self.path} of {name}" if self.path else name or "your account"


TOKEN_VARIABLES = ("HF_TOKEN", "HUGGINGFACE_TOKEN")  # of the environment, in their order


def from_status(status: int, headers: Mapping[str, str], subject: Subject) -> LqmfError:
    """Return the error for an HTTP answer with a status of 400 or more. `headers` must ignore case, as HTTP's do."""
    code = headers.get("x-error-code", "")
    if code == "GatedRepo" or (status == 403 and subject.model):
        return gated(subject, forbidden=code != "GatedRepo")
    if status in (401, 403):
        return _unauthorized(subject)
    if status == 404:
        return _not_found(subject, code)
    if status == 429:
        return _rate_limited(headers, subject)
    if status >= 500:
        return HubUnavailable(
            f"The Hub at {subject.endpoint} failed with status {status} when asked for {subject}.",
            "Try again in a few minutes; https://status.huggingface.co says how the Hub is.",
            status=status,
        )
    said = printable(headers.get("x-error-message", ""))
    return TransferError(
        f"The Hub at {subject.endpoint} refused {subject} with status {status}{': ' + said if said else ''}.",
        "Check HF_ENDPOINT, and whether the model can be opened in a browser.",
        status=status,
    )


def from_exception(error: Exception, subject: Subject) -> LqmfError:
    """Return the error for an exception of huggingface_hub or its HTTP client; ValueError means an answer that is no
    JSON."""
    import httpx2
    from huggingface_hub import errors as hf

    if isinstance(error, httpx2.HTTPStatusError | hf.HfHubHTTPError):
        return from_status(error.response.status_code, error.response.headers, subject)
    if isinstance(error, hf.OfflineModeIsEnabled):
        return offline(subject)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return Offline(
            f"The Hub at {subject.endpoint} cannot be reached, so {subject} was not fetched.",
            "Check the network (and HF_ENDPOINT, HTTPS_PROXY where set). A model already in models/ needs none.",
        )
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return SettingsError(f"HF_ENDPOINT is no web address: {printable(subject.endpoint)}.", "Unset it, or mend it.")
    if isinstance(error, httpx2.TransportError):
        return ConnectionBroken(
            f"The connection to {subject.endpoint} broke while fetching {subject} ({type(error).__name__}).",
            "Run the same command again: it goes on where it stopped.",
        )
    return NotTheHub(
        f"What {subject.endpoint} answered about {subject} is not what the Hub answers{_in_short(error)}.",
        "Check HF_ENDPOINT, and whether a login page of the network stands in between.",
    )


def _in_short(error: Exception) -> str:
    """Return in brackets what of an answer's form is wrong, where that is known."""
    return f" ({printable(str(error), 100)})" if isinstance(error, InvalidRecord) else ""


@contextmanager
def translated(subject: Subject) -> Iterator[None]:
    """Raise errors of huggingface_hub and its HTTP client inside the `with` block as LQMF's own."""
    import httpx2
    from huggingface_hub import errors as hf

    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, hf.OfflineModeIsEnabled, hf.HfHubHTTPError, ValueError) as error:
        raise from_exception(error, subject) from None


def offline_by_environment() -> bool:
    """Return whether the user forbade the network; read at each call, as huggingface_hub reads it only when
    imported."""
    said = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return said.upper() in {"1", "ON", "YES", "TRUE"}


def offline(subject: Subject) -> Offline:
    """Return the error for a subject that is not on this machine while HF_HUB_OFFLINE is set."""
    return Offline(
        f"HF_HUB_OFFLINE is set, and {subject} is not on this machine.",
        "Unset HF_HUB_OFFLINE to fetch it, or name a model that is already here: lqmf disk lists them.",
        missing=str(subject),
    )


def gated(subject: Subject, *, forbidden: bool = False) -> GatedModel:
    """Return the error for a model whose licence is to be accepted, or to which the token has no access. `forbidden`:
    the Hub did not say that the licence is the reason."""
    page = f"{subject.endpoint}/{subject.model}"
    if subject.with_token:
        what = "your token has no access to it" if forbidden else "your account has not been granted access"
        return GatedModel(
            f"{subject} is gated: {what}.",
            f"Accept the licence at {page}, then run the same command again. Another account: lqmf hf login",
            url=page,
        )
    return GatedModel(
        f"{subject} is gated: it is given only to accounts that accepted its licence.",
        f"Accept the licence at {page}, then: lqmf hf login",
        url=page,
    )


def _unauthorized(subject: Subject) -> Unauthorized:
    if subject.with_token:
        new = "Make a new one at https://huggingface.co/settings/tokens, then"
        name = next((name for name in TOKEN_VARIABLES if os.environ.get(name, "").strip()), None)
        login = f"put it into {name}; or `unset {name}`, which goes before a login, and" if name else ""
        return Unauthorized(
            f"The Hub does not accept {f'the token in {name}' if name else 'your token'} (asked for {subject}).",
            f"{new} {login} `lqmf hf login`.".replace("  ", " "),
        )
    return Unauthorized(
        f"The Hub does not show {subject} without a token: it is private, or there is no such model.",
        "Check the spelling; if it is private: lqmf hf login",
    )


def _not_found(subject: Subject, code: str) -> LqmfError:
    if code == "EntryNotFound" or (subject.path and code not in ("RepoNotFound", "RevisionNotFound")):
        return IncompleteModel(
            f"{subject} is listed, but the Hub does not have it.",
            "The repository is incomplete: ask its author, or name another revision (org/name@revision).",
        )
    if code == "RevisionNotFound":
        return ModelNotFound(
            f"{subject.model} has no revision '{printable(subject.revision or 'main')}'.",
            f"See {subject.endpoint}/{subject.model}/tree/main, or leave the @revision away.",
        )
    return ModelNotFound(
        f"There is no model {subject.model} on {subject.endpoint}"
        + ("." if subject.with_token else ", or it is private."),
        f"Check the spelling: {subject.endpoint}/models?search={subject.model.rpartition('/')[2]}",
    )


def _rate_limited(headers: Mapping[str, str], subject: Subject) -> RateLimited:
    seconds = retry_after(headers)
    wait = f"wait {seconds:.0f} seconds" if seconds is not None else "wait a little"
    hint = "." if subject.with_token else "; with a token the limit is higher: lqmf hf login"
    return RateLimited(
        f"The Hub limits how often it may be asked (429), here for {subject}.",
        f"Please {wait}, then run the same command again{hint}",
        retry_after_seconds=seconds,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for: a number, or a date (RFC 9110, 10.2.3); without it those of
    `RateLimit`.

    The Hub's `RateLimit: "api";r=0;t=55` means: none remain, 55 seconds until the next window (the IETF's draft 09).
    None where neither header gives a time.
    """
    said = headers.get("retry-after", "").strip()
    if not said and (window := _RATE_LIMIT.search(headers.get("ratelimit", ""))):
        return float(window[1])
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
