"""Hugging Face tokens: where they come from, whose they are, and how they stay out of sight.

Knows huggingface_hub's own store and the environment; knows no models. No token is ever in a repr, an error or a log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.errors import ConnectionBroken, HubUnavailable, LqmfError, Offline, UsageError
from lqmf.hub.translate import TOKEN_VARIABLES
from lqmf.records import from_text

if TYPE_CHECKING:
    from lqmf.hub.answers import Account

ANSWER_SECONDS = 20.0
_HOW = "Make a token at https://huggingface.co/settings/tokens, then: lqmf hf login"
_NAMES = r"HF_TOKEN|HUGGING_?FACE(?:_HUB)?_TOKEN|[A-Z0-9]+_API_KEY|access_token|x-api-key|x-goog-api-key"
_SECRETS = re.compile(
    r"(?P<bearer>(?i:\bBearer)\s+)[^\s\"',;]+"
    r"|(?P<query>[?&](?i:token|key|api_key|access_token|Signature|X-Amz-[A-Za-z-]+|Key-Pair-Id|Policy)=)[^&\s\"']+"
    rf"|(?P<named>\b(?i:{_NAMES})[\"']?\s*[=:]\s*[\"']?)[^\s\"',;]+"
    r"|\bhf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{6,}|\bhf_[A-Za-z0-9]{16,}|\bapi_org_[A-Za-z0-9]{6,}"
    r"|\bsk-[A-Za-z0-9_-]{8,}"
    r"|\bAIza[0-9A-Za-z_-]{20,}"
    r"|\b(?:gsk_|xai-|gh[opsu]_|github_pat_|glpat-)[A-Za-z0-9_-]{16,}"
    # in a sentence: "my password is ..", with a digit in it, or the beginning of a token
    r"|(?P<told>\b(?i:token|api[ _-]?key|key|pass(?:word|wd|phrase)|secret)(?:\s+(?i:is|was)\s+|\s*[:=]\s*)[\"']?)"
    r"(?=hf_|[^\s\"',;]{0,64}\d)[^\s\"',;]{8,}"
)


def token(said: Mapping[str, str | None] | None = None) -> tuple[str | None, str]:
    """Return the token in use and its origin: an environment variable's name, "cache", "hf cli", or "none" with token
    None.

    Order: HF_TOKEN, HUGGINGFACE_TOKEN, the token that huggingface_hub keeps as active, then the token that the hf
    command stored (only when it stored exactly one). `said` holds the first two where they are set in `.env` too.
    """
    for name in TOKEN_VARIABLES:
        if value := ((said or {}).get(name) or os.environ.get(name, "")).strip():
            return value, name
    from huggingface_hub import get_token
    from huggingface_hub.utils import get_stored_tokens  # type: ignore[attr-defined]

    if value := get_token() or "":
        return value, "cache"
    stored = [value for value in get_stored_tokens().values() if value]
    return (stored[0], "hf cli") if len(stored) == 1 else (None, "none")


def status(*, endpoint: str | None = None, said: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """Ask the Hub (whoami) who is logged in.

    Returns `{"logged_in", "source", "user", "fullname", "type", "plan", "orgs", "token_role"}`; without a token only
    the first two, and the Hub is not asked. Raises Unauthorized, RateLimited, Offline and the like.
    """
    value, source = token(said)
    if value is None:
        return {"logged_in": False, "source": source}
    return {"logged_in": True, "source": source, **_account(_whoami(value, endpoint))}


def status_as_known(*, endpoint: str | None = None, said: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """Return the answer of `status`; where the Hub cannot be reached, `{"logged_in": None, "source", "reason"}` for a
    token that could not be checked. Raises Unauthorized, RateLimited and the like."""
    try:
        return status(endpoint=endpoint, said=said)
    except (Offline, ConnectionBroken, HubUnavailable) as error:
        return {"logged_in": None, "source": token(said)[1], "reason": f"could not be checked: {error.message}"}


def login(value: str, *, endpoint: str | None = None) -> dict[str, Any]:
    """Verify the token `value` with the Hub, then keep it in huggingface_hub's own store, readable by its owner only.

    Returns the account as `status` does; `"overridden_by"` names an environment variable that still comes first. Raises
    UsageError for text that is no token, Unauthorized for a token that the Hub refuses.
    """
    value = value.strip()
    if not value or any(c.isspace() or not c.isprintable() for c in value) or value.startswith("api_org"):
        raise UsageError("That is not a personal access token.", _HOW)
    account = _account(_whoami(value, endpoint))
    _store(value, endpoint)
    used, source = token()
    overridden = {} if used == value else {"overridden_by": source}
    return {"logged_in": True, "source": "cache", **account, **overridden}


def logout() -> dict[str, Any]:
    """Forget every stored token. Returns `"logged_out"`; `"still_set"` names an environment variable that still holds a
    token."""
    import huggingface_hub

    had = _token_path().exists() or token()[1] in ("cache", "hf cli")
    with contextlib.suppress(OSError), _silent():  # an error if the environment still holds one; told below
        huggingface_hub.logout()
    still = next((name for name in TOKEN_VARIABLES if os.environ.get(name, "").strip()), None)
    return {"logged_out": had, **({"still_set": still} if still else {})}


def redact(text: str, *, secrets: Iterable[str] = ()) -> str:
    """Return `text` with tokens, bearer headers, signatures of signed addresses and providers' keys masked by "***".

    `secrets` are further values to mask, such as keys that came from `.env` and are in no environment variable.
    """
    for value in (*_current_secrets(), *(secret for secret in secrets if secret)):
        text = text.replace(value, "***")
    return _SECRETS.sub(lambda m: (m["bearer"] or m["query"] or m["named"] or m["told"] or "") + "***", text)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Turn off the lines that huggingface_hub logs to the screen: the caller tells the user itself."""
    logger = logging.getLogger("huggingface_hub._login")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _current_secrets() -> list[str]:
    """Return the secrets to mask whatever they look like: those of at least 8 characters, too long for a word of the
    text."""
    names = (
        *TOKEN_VARIABLES,
        "HUGGING_FACE_HUB_TOKEN",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "GEMINI_API_KEY",
    )
    values = [os.environ.get(name, "").strip() for name in names]
    with contextlib.suppress(OSError, UnicodeDecodeError):  # nothing stored, or not readable: then not in the text
        values.append(_token_path().read_text(encoding="utf-8").strip())
    return sorted({value for value in values if len(value) >= 8}, key=len, reverse=True)


def _token_path() -> Path:
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    return Path(os.path.expandvars(os.environ.get("HF_TOKEN_PATH") or os.path.join(home, "token"))).expanduser()


def _whoami(value: str, endpoint: str | None) -> Account:
    from lqmf.hub import answers, translate

    base = (endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    subject = translate.Subject(base, with_token=True)
    if translate.offline_by_environment():
        raise translate.offline(subject)
    with translate.translated(subject):
        headers = {"Authorization": f"Bearer {value}"}
        body, _ = answers.get(f"{base}/api/whoami-v2", headers, subject, seconds=ANSWER_SECONDS)
        return from_text(answers.Account, body)


def _account(found: Account) -> dict[str, Any]:
    access = found.auth.accessToken if found.auth else None
    return {
        "user": found.name,
        "fullname": found.fullname,
        "type": found.type,
        "plan": "pro" if found.isPro else "free",
        "orgs": [org.name for org in found.orgs or () if org.name],
        "token_role": access.role if access else None,
    }


def _store(value: str, endpoint: str | None) -> None:
    """Store the token through huggingface_hub's own login, which verifies it once more and writes its files with mode
    0600.

    It runs in a process of its own: that login asks the address that was in the environment when it was imported, and a
    token must be sent only to the Hub that it is for. The token travels on standard input.
    """
    environment = {**os.environ, **({"HF_ENDPOINT": endpoint} if endpoint else {})}
    code = "import sys, huggingface_hub; huggingface_hub.login(token=sys.stdin.read())"
    done = subprocess.run([sys.executable, "-c", code], input=value, text=True, capture_output=True, env=environment)
    if done.returncode != 0:
        said = redact((done.stderr.strip().splitlines() or [""])[-1])
        raise LqmfError(f"The token is right, but it could not be kept ({said}).", "Check the folder in HF_HOME.")
    if os.name == "posix":
        for path in (_token_path(), _token_path().with_name("stored_tokens")):
            if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
                path.chmod(0o600)
