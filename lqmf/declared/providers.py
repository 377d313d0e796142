"""The declaration of each provider: the words people use for it, the settings of its key, model and address, its
prices.

A factory of an entry point in the group `lqmf.providers` carries its declaration as the attribute `declared`; a factory
without it is declared by the name of its entry point, and has no key. LQMF's own declarations stand here as plain data.
Knows no SDK, asks nobody.

List prices are in US dollars for a million tokens, for prompts up to 100,000 tokens, without discounts for batches or
caches, as the providers' pages had them in November 2026:
https://platform.claude.com/docs/en/models/overview, https://developers.openai.com/api/docs/pricing,
https://ai.google.dev/gemini-api/docs/pricing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from lqmf.declared import entry_points

PROVIDER_GROUP = "lqmf.providers"
Price = tuple[float, float]  # US dollars for a million tokens in, and out


@dataclass(frozen=True)
class Service:
    """The declaration of one provider; all but the name may be left out.

    `words` is a regular expression, without groups that capture, of the words that name the provider (empty: its name).
    `keys` are the settings that may hold its key, the usual one first; the environment has them in capitals. `model`
    and `address` are defaults (empty: left to the far end, and to its SDK). `module` is the module of its SDK,
    `install` the command that installs it. `prices` are by model; `until` holds the last day of a lower price. A
    provider that is not `shown` is listed only when it is in use.
    """

    name: str
    words: str = ""
    keys: tuple[str, ...] = ()
    needs_key: bool = False
    model: str = ""
    address: str = ""
    address_setting: str = ""
    module: str = ""
    install: str = ""
    prices: Mapping[str, Price] = field(default_factory=dict)
    until: Mapping[str, tuple[datetime.date, Price]] = field(default_factory=dict)
    shown: bool = True

    @property
    def model_key(self) -> str:
        """Return the name of the setting that holds the provider's model."""
        return f"{self.name}_model"

    @property
    def address_key(self) -> str:
        """Return the name of the setting that holds the provider's address."""
        return self.address_setting or f"{self.name}_base_url"


_LLM = "pip install 'lqmf[llm]'"
CLAUDE = Service(
    "claude",
    r"claude|anthropic|sonnet|opus|haiku",
    keys=("anthropic_api_key",),
    needs_key=True,
    model="claude-sonnet-5-5",
    address_setting="anthropic_base_url",
    module="anthropic",
    install=_LLM,
    prices={
        "claude-haiku-5-5": (0.10, 0.50),
        "claude-sonnet-5-5": (2.0, 10.0),
        "claude-opus-5-5": (4.0, 20.0),
        "claude-sonnet-5": (2.0, 10.0),
        "claude-opus-5": (5.0, 25.0),
        "claude-haiku-4-5": (1.0, 5.0),
    },
)
OPENAI = Service(
    "openai",
    r"open ?ai|chat ?gpt|gpt(?![\w -]?\d|-[a-z])|gpt-?[45](?:o|\.\d)?(?:-?mini)?",
    keys=("openai_api_key",),
    needs_key=True,
    model="gpt-6.1-terra",
    module="openai",
    install=_LLM,
    prices={"gpt-6-luna": (0.10, 0.50), "gpt-6.1-terra": (1.0, 5.0), "gpt-6.1-sol": (2.0, 10.0)},
)
GEMINI = Service(
    "gemini",
    r"gemini|google(?:'s)?(?: ai)?",
    keys=("gemini_api_key", "google_api_key"),
    needs_key=True,
    model="gemini-3.8-flash",
    module="google.genai",
    install=_LLM,
    prices={"gemini-3.8-flash": (1.5, 7.5)},
    until={"gemini-3.8-flash": (datetime.date(2026, 12, 31), (0.75, 3.75))},
)
LOCAL = Service(
    "local",
    r"ollama|lm ?studio|local(?: (?:model|llm|provider|one|server))?"
    r"|(?:local |llama |the )?server(?: (?:at|on|under))? localhost|localhost|llamafile|vllm|offline (?:model|llm)"
    r"|llama-server",
    keys=("local_api_key",),
    address="http://127.0.0.1:11434/v1",
    module="openai",
    install=_LLM,
)
SCRIPTED = Service("scripted", shown=False)
OWN = (CLAUDE, OPENAI, GEMINI, LOCAL, SCRIPTED)


@cache
def services() -> Mapping[str, Service]:
    """Return the declarations of all providers by name, ours first; a broken plug-in is left out."""
    found = {service.name: service for service in OWN}
    for name in entry_points.points(PROVIDER_GROUP):
        service = None if name in found else entry_points.load(PROVIDER_GROUP, name, partial(_declaration, name))
        found |= {name: service} if service else {}
    return found


def added() -> tuple[Service, ...]:
    """Return the declarations of other packages' providers."""
    return tuple(service for service in services().values() if service not in OWN)


def of(name: str) -> Service:
    """Return the declaration of the provider `name`; for an unknown provider, a declaration of its name alone."""
    return services().get(name) or Service(name)


def asked() -> tuple[Service, ...]:
    """Return the declarations of all providers that are shown. The settings have a model, an address and maybe a key
    for each."""
    return tuple(service for service in services().values() if service.shown)


def names() -> str:
    """Return the names of the providers that are shown, as words of a sentence: "claude, openai, gemini or local"."""
    *most, last = (service.name for service in asked())
    return f"{', '.join(most)} or {last}"


def price(model: str, day: datetime.date) -> Price | None:
    """Return the price of `model` on `day`, (in, out) in US dollars for a million tokens; None if no provider declares
    it."""
    for service in services().values():
        if model in service.until and day <= service.until[model][0]:
            return service.until[model][1]
        if model in service.prices:
            return service.prices[model]
    return None


def _declaration(name: str, factory: Any) -> Service:
    """Return a factory's declaration. Raises TypeError if it is no factory or its declaration is no Service, ValueError
    if it declares another name than its entry point's."""
    declared = getattr(factory, "declared", None) or Service(name)
    if not callable(factory) or not isinstance(declared, Service):
        raise TypeError("it is no factory of a provider, or its `declared` is no lqmf.plugin.Service")
    if declared.name != name:
        raise ValueError(f"it declares the name '{declared.name}'")
    entry_points.check_words(name, declared.words or name)
    return declared
