"""All settings of the LLM providers in one record, each with where it came from.

Knows names, keys and limits, and the remedy for a missing key; knows no SDK, and calls nobody. The values are those of
`lqmf.settings`: config.json, .env, the environment and options, in rising order. The providers, and what each of them
declares, are in `lqmf.declared.providers`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import SecretStr

from lqmf.declared import providers
from lqmf.errors import SettingsError

if TYPE_CHECKING:
    from lqmf.settings import Loaded, Settings

NONE = "none"
OFFLINE_WAY = (
    "`lqmf llm switch none` plans by the rules alone, offline; `lqmf llm switch local` asks a model of your own"
)
# https://ai.google.dev/gemini-api/docs/deprecations names the successor of each model
_SUCCESSORS = (
    (re.compile(r"gemini-(?:1\.[05]-|2\.[05]-)?pro(?:-(?:vision|latest|exp|preview|\d{3}))?"), "gemini-3.8-flash"),
    (re.compile(r"gemini-(?:1\.5|2\.0)-flash(?:-(?:8b|lite|latest|exp|\d{3}))*"), "gemini-3.5-flash-lite"),
)


@dataclass(frozen=True)
class Budget:
    """The most that all providers together may take in a day; None is no limit. `cost` is in US dollars."""

    calls: int | None
    tokens: int | None
    cost: float | None


@dataclass(frozen=True)
class LlmSettings:
    """The providers that are asked, their order, and the limits on them."""

    provider: str  # "none": nobody
    fallbacks: tuple[str, ...]
    wait_s: float  # that the chat waits
    timeout_s: float  # that one request may take
    max_tokens: int  # of one answer
    max_retries: int
    budget: Budget
    keep_prompts: bool
    local_artifact: str | None  # name of an own GGUF artifact: "local" runs it in place of asking a server
    scripted_file: str | None
    models: Mapping[str, str | None]
    base_urls: Mapping[str, str | None]  # None: the SDK's own
    keys: Mapping[str, SecretStr | None]
    origins: Mapping[str, str] = field(repr=False)

    @property
    def order(self) -> tuple[str, ...]:
        """Return the providers to ask, in order; empty where the rules plan alone."""
        return () if self.provider == NONE else tuple(dict.fromkeys((self.provider, *self.fallbacks)))

    def model(self, provider: str) -> str | None:
        """Return the model to ask `provider` for; None leaves the choice to the provider."""
        if provider == "local" and self.local_artifact:
            return self.local_artifact
        return self.models.get(provider)

    def base_url(self, provider: str) -> str | None:
        """Return the address of `provider`; None stands for its SDK's own."""
        return self.base_urls.get(provider)

    def key(self, provider: str) -> SecretStr | None:
        """Return the key of `provider`, still covered; None where there is none."""
        return self.keys.get(provider)

    def key_source(self, provider: str) -> str | None:
        """Return the variable that holds the key and where it is set: "ANTHROPIC_API_KEY in .env"; None without a
        key."""
        for name in providers.of(provider).keys:
            if name in self.origins and self.keys.get(provider):
                return f"{name.upper()} in {_place(self.origins[name])}"
        return None

    def origin(self, key: str) -> str:
        """Return where the setting called `key` came from: default, config.json, .env, environment or option."""
        return self.origins.get(key, "default")

    def required_key(self, provider: str) -> str:
        """Return the key of `provider` in clear, for its SDK. Raises SettingsError that says how to give one."""
        if (key := self.clear_key(provider)) is None:
            raise missing_key(provider)
        return key

    def clear_key(self, provider: str) -> str | None:
        """Return the key of `provider` in clear; None where there is none. Raises SettingsError for a key that no
        request can carry: it is shown where it is damaged, not what it is."""
        if (secret := self.key(provider)) is None:
            return None
        key = secret.get_secret_value()
        for place, one in enumerate(key, 1):
            if not "!" <= one <= "~":
                raise SettingsError(
                    f"The key for {provider} ({self.key_source(provider)}) has {_character(one)} in place {place}: no "
                    "key has.",
                    "Copy the key again, and set it without anything else.",
                )
        return key


def _character(one: str) -> str:
    kind = "white space" if one.isspace() else "a control character" if not one.isprintable() else "a character"
    return f"{kind} (U+{ord(one):04X})"


def missing_key(provider: str) -> SettingsError:
    """Return the error for a missing key: it names the variable, the line for .env, and the way without a key."""
    variable = (*providers.of(provider).keys, f"{provider}_api_key")[0].upper()
    return SettingsError(
        f"There is no key for {provider}: {variable} is not set.",
        f"Put the line {variable}=<your key> into .env in the workspace, or set it in the environment. "
        f"Without one: {OFFLINE_WAY}.",
        provider=provider,
        variable=variable,
    )


def llm_settings(loaded: Loaded) -> LlmSettings:
    """Return the LLM part of `loaded`."""
    values = loaded.values
    return LlmSettings(
        provider=values.llm_provider,
        fallbacks=values.llm_fallbacks,
        wait_s=values.llm_wait_s,
        timeout_s=values.llm_timeout_s,
        max_tokens=values.llm_max_tokens,
        max_retries=values.max_retries,
        budget=Budget(values.llm_daily_calls, values.llm_daily_tokens, values.llm_daily_cost),
        keep_prompts=values.llm_keep_prompts,
        local_artifact=values.local_artifact or None,
        scripted_file=values.scripted_file or None,
        models=_models(values),
        base_urls={one.name: getattr(values, one.address_key).strip() or None for one in providers.asked()},
        keys={one.name: _key(values, one.keys) for one in providers.asked()},
        origins={name: origin for name, origin in loaded.origins.items() if name in llm_keys()},
    )


def _models(values: Settings) -> dict[str, str | None]:
    named = {one.name: getattr(values, one.model_key) or None for one in providers.asked()}
    return {**named, "gemini": gemini_model(values.gemini_model)}


def gemini_model(name: str) -> str:
    """Return the model that google-genai is asked for, by a name as google-generativeai took it: "models/gemini-pro"
    and other retired models give their successor."""
    bare = name.removeprefix("models/")
    return next((successor for old, successor in _SUCCESSORS if old.fullmatch(bare)), bare)


def _key(values: Settings, names: tuple[str, ...]) -> SecretStr | None:
    """Return the first key that is set, without the white space around it: a pasted line often ends in some."""
    found = (getattr(values, name) for name in names)
    clear = (secret.get_secret_value().strip() for secret in found if secret)
    return next((SecretStr(key) for key in clear if key), None)


def _place(origin: str) -> str:
    return "the environment" if origin == "environment" else origin


def llm_keys() -> tuple[str, ...]:
    """Return the names of the settings that `llm_settings` reads."""
    return (
        *("llm_provider", "llm_fallbacks", "llm_wait_s", "llm_timeout_s", "llm_max_tokens", "max_retries"),
        *("llm_daily_calls", "llm_daily_tokens", "llm_daily_cost", "llm_keep_prompts"),
        *("local_artifact", "scripted_file"),
        *(key for one in providers.asked() for key in (one.model_key, one.address_key, *one.keys)),
    )
