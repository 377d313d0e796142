"""Hugging Face tokens under their known name; see `lqmf.hub.auth`."""

from lqmf.hub.auth import login, logout, redact, status, token

__all__ = ["login", "logout", "redact", "status", "token"]
