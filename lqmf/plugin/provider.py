"""The names that a package with a provider imports. Its factory takes (settings, folder of artifacts), returns a
`Provider`, and carries its `Service` as the attribute `declared`.

A provider retries nothing, and raises ProviderError alone: `asked` and `streamed` see to that.
"""

from __future__ import annotations

from lqmf.declared.providers import Service
from lqmf.errors import ProviderError, SettingsError
from lqmf.providers.answers import bad, parse
from lqmf.providers.base import (
    Completion,
    Message,
    Provider,
    Usage,
)
from lqmf.providers.clients import LoopBound
from lqmf.providers.config import LlmSettings
from lqmf.providers.failures import (
    asked,
    of_status,
    streamed,
    unreachable,
)

__all__ = [
    "Completion",
    "LlmSettings",
    "LoopBound",
    "Message",
    "Provider",
    "ProviderError",
    "Service",
    "SettingsError",
    "Usage",
    "asked",
    "bad",
    "of_status",
    "parse",
    "streamed",
    "unreachable",
]
