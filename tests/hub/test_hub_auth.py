"""Tokens: where they come from, verified and kept by huggingface_hub's own store, and never shown."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest
from rich.console import Console

from lqmf.cli.views.accounts import account_view
from lqmf.errors import Offline, RateLimited, Unauthorized, UsageError
from lqmf.hub import auth
from tests.hub.server import LocalHub


@pytest.fixture
def hub_with_users() -> LocalHub:
    with LocalHub(tokens={"hf_adastoken123": "ada", "hf_bobstoken123": "bob"}) as hub:
        yield hub


def test_the_environment_comes_first_then_the_store(hf_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert auth.token() == (None, "none")
    hf_home.mkdir()
    (hf_home / "stored_tokens").write_text("[mine]\nhf_token = hf_fromthecli1\n")
    assert auth.token() == ("hf_fromthecli1", "hf cli")
    (hf_home / "token").write_text("hf_fromcache1\n")
    assert auth.token() == ("hf_fromcache1", "cache")
    monkeypatch.setenv("HUGGINGFACE_TOKEN", "hf_second1")
    assert auth.token() == ("hf_second1", "HUGGINGFACE_TOKEN")
    monkeypatch.setenv("HF_TOKEN", " hf_first1 ")
    assert auth.token() == ("hf_first1", "HF_TOKEN")


def test_several_stored_tokens_and_no_active_one_is_no_choice_of_ours(hf_home: Path) -> None:
    hf_home.mkdir()
    (hf_home / "stored_tokens").write_text("[a]\nhf_token = hf_a1\n[b]\nhf_token = hf_b1\n")
    assert auth.token() == (None, "none")


def test_login_verifies_keeps_and_logout_forgets(hub_with_users: LocalHub, hf_home: Path) -> None:
    assert auth.status(endpoint=hub_with_users.url) == {"logged_in": False, "source": "none"}
    account = auth.login(" hf_adastoken123 ", endpoint=hub_with_users.url)
    assert account == {
        "logged_in": True, "source": "cache", "user": "ada", "fullname": "Ada", "type": "user", "plan": "free",
        "orgs": ["lab"], "token_role": "read",
    }  # fmt: skip
    assert auth.token() == ("hf_adastoken123", "cache")
    for name in ("token", "stored_tokens"):
        assert stat.S_IMODE((hf_home / name).stat().st_mode) == 0o600
    assert auth.status(endpoint=hub_with_users.url) == account
    assert auth.logout() == {"logged_out": True}
    assert not (hf_home / "token").exists()
    assert not (hf_home / "stored_tokens").exists()
    assert auth.token() == (None, "none")
    assert auth.logout() == {"logged_out": False}


def test_a_second_login_replaces_the_first(hub_with_users: LocalHub) -> None:
    auth.login("hf_adastoken123", endpoint=hub_with_users.url)
    assert auth.login("hf_bobstoken123", endpoint=hub_with_users.url)["user"] == "bob"
    assert auth.token() == ("hf_bobstoken123", "cache")


def test_a_token_that_the_hub_refuses_is_not_kept_and_not_shown(hub_with_users: LocalHub, hf_home: Path) -> None:
    with pytest.raises(Unauthorized) as caught:
        auth.login("hf_wrongtoken123", endpoint=hub_with_users.url)
    assert "wrongtoken" not in str(caught.value.to_json())
    assert caught.value.__cause__ is None
    assert not (hf_home / "token").exists()


@pytest.mark.parametrize("value", ["", "two words", "a\nb", "api_org_x", "\x1b[31m"])
def test_what_is_no_token_is_refused_without_asking(hub_with_users: LocalHub, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        auth.login(value, endpoint=hub_with_users.url)
    assert not value.strip() or value not in str(caught.value.to_json())
    assert hub_with_users.requests == []


def test_an_environment_token_that_overrides_the_new_one_is_named(
    hub_with_users: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_bobstoken123")
    assert auth.login("hf_adastoken123", endpoint=hub_with_users.url)["overridden_by"] == "HF_TOKEN"
    assert auth.status(endpoint=hub_with_users.url)["user"] == "bob"
    assert auth.logout() == {"logged_out": True, "still_set": "HF_TOKEN"}


def test_the_hubs_troubles_are_told_as_what_they_are(hub_with_users: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_adastoken123")
    hub_with_users.fail("/api/whoami-v2", "status", status=429, headers={"retry_after": "7"})
    with pytest.raises(RateLimited) as caught:
        auth.status(endpoint=hub_with_users.url)
    assert caught.value.retry_after_seconds == 7
    with pytest.raises(Offline):
        auth.status(endpoint="http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Offline):
        auth.status(endpoint=hub_with_users.url)


def test_without_a_network_the_token_is_told_as_not_checked(
    hub_with_users: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert auth.status_as_known(endpoint="http://127.0.0.1:9") == {"logged_in": False, "source": "none"}
    said = {"HF_TOKEN": "hf_adastoken123"}
    assert auth.status_as_known(endpoint=hub_with_users.url, said=said)["user"] == "ada"
    known = auth.status_as_known(endpoint="http://127.0.0.1:9", said=said)
    assert (known["logged_in"], known["source"]) == (None, "HF_TOKEN")
    assert known["reason"].startswith("could not be checked: ")
    assert "adastoken" not in known["reason"]
    with pytest.raises(Unauthorized):
        auth.status_as_known(endpoint=hub_with_users.url, said={"HF_TOKEN": "hf_wrongtoken123"})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert auth.status_as_known(endpoint=hub_with_users.url, said=said)["logged_in"] is None
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(account_view(known))
    assert "A token from HF_TOKEN; could not be checked" in console.export_text()


def test_logging_out_without_a_login_says_nothing_of_its_own(
    hf_home: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert auth.logout() == {"logged_out": False}
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


SECRETS = [
    "hf_AbCdEfGhIjKlMnOpQrStUvWxYz12345678",
    "hf_secret123",
    "sk-ant-api03-abcDEF_123-456",
    "sk-proj-abcdefgh12345678",
    "AIzaSyA1234567890abcdefghijklmnopqrstu",
    "api_org_AbCdEf123456",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "around", ["{}", "token {}, then", '{{"HF_TOKEN": "{}"}}', "https://u:{}@x/y", "Authorization: Bearer {}"]
)
def test_secrets_are_masked_in_any_text(secret: str, around: str) -> None:
    shown = auth.redact(around.format(secret))
    assert secret not in shown
    assert "***" in shown


def test_bearer_headers_signed_addresses_and_named_keys_are_masked() -> None:
    text = "authorization: bearer abc.def GET https://cdn/x?Expires=1&Signature=s3cr3t&b=2 "
    text += "ANTHROPIC_API_KEY=qwerty x-api-key: zzz"
    shown = auth.redact(text)
    assert not any(secret in shown for secret in ("abc.def", "s3cr3t", "qwerty", "zzz"))
    assert "Expires=1" in shown
    assert "b=2" in shown


def test_the_token_in_use_is_masked_whatever_it_looks_like(monkeypatch: pytest.MonkeyPatch, hf_home: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "plainpassword")
    hf_home.mkdir()
    (hf_home / "token").write_text("otherpassword")
    assert auth.redact("a plainpassword and otherpassword") == "a *** and ***"
    assert auth.redact("from .env: third", secrets=["third", ""]) == "from .env: ***"


@pytest.mark.parametrize(
    "text",
    ["convert_hf_to_gguf.py", "hf_login and hf_status", "max_tokens: 512", "bos_token: <s>", "disk-space", "Q4_K_M"],
)
def test_ordinary_words_stay(text: str) -> None:
    assert auth.redact(text) == text


def test_the_files_are_private_even_under_a_loose_umask(hub_with_users: LocalHub, hf_home: Path) -> None:
    old = os.umask(0)
    try:
        auth.login("hf_adastoken123", endpoint=hub_with_users.url)
    finally:
        os.umask(old)
    assert stat.S_IMODE((hf_home / "token").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("my token is hf_abcdefghij, log me in", "my token is ***, log me in"),
        ("the password was hunter2hunter2", "the password was ***"),
        ("api key: 0123456789abcdef0123", "api key: ***"),
        ("use gsk_abcdefghijklmnopqrstu for it", "use *** for it"),
        ("push it with ghp_0123456789abcdefghij", "push it with ***"),
    ],
)
def test_a_secret_that_is_told_in_a_sentence_is_masked(said, kept):
    assert auth.redact(said) == kept


@pytest.mark.parametrize(
    "line",
    [
        "what is hf_transfer?",
        "the key is quantize.imatrix.entries_count",
        "which token is the end of text?",
        "key: Q4_K_M",
        "a token is about 4 characters",
    ],
)
def test_what_is_no_secret_stays(line):
    assert auth.redact(line) == line
