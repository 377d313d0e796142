"""Settings: config.json, .env, the environment and options, in rising order; each value knows where it came from.

pydantic-settings reads and checks them. Only config.json refuses unknown keys: .env and the environment may hold
others' variables. Nothing is read at import.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, create_model, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from lqmf.declared import entry_points, providers
from lqmf.declared.providers import CLAUDE, GEMINI, LOCAL, OPENAI, PROVIDER_GROUP
from lqmf.errors import SettingsError
from lqmf.workspace import Workspace, at, nearest, write_json

CONFIG, DOTENV = "config.json", ".env"
# Bounds of the quality gate; `lqmf.quality.receipt.gate` says where they come from.
KL_NATS = "8:0.005,6:0.015,5:0.03,4:0.1,3:0.3,2:1,1:3"  # the greatest mean KL divergence, by bits
TOP1 = "8:0.91,6:0.85,5:0.79,4:0.62,3:0.34,1:0"  # the least share of tokens with the same top choice, by bits
LATER = frozenset({"api_host", "api_port", "api_reload"})  # of the API server
COMMENT = "//"  # a key of config.json that begins so is the user's own note, and stays


class Settings(BaseSettings):
    """Every setting with its default. Environment names are these in capitals."""

    model_config = SettingsConfigDict(extra="ignore", case_sensitive=False, env_file_encoding="utf-8")

    storage_backend: Literal["sqlite", "json"] = Field("sqlite", description="where records are kept")
    models_dir: str = Field("models", description="downloaded models")
    quantized_models_dir: str = Field("quantized-models", description="finished artifacts")
    configs_dir: str = Field("configs", description="plans as executed")
    logs_dir: str = Field("logs", description="events and logs of each job")
    mcp_dir: str = Field("mcp", description="the store")
    benchmarks_dir: str = Field("benchmarks", description="results of tests")
    auto_save_plans: bool = Field(True, description="save each plan under configs_dir")
    max_retries: int = Field(3, ge=0, le=20, description="further attempts after a failure that can heal")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what goes to the log")
    llm_provider: str = Field("none", description="who helps the planner: claude, openai, gemini, local, or none")
    llm_fallbacks: Annotated[tuple[str, ...], NoDecode] = Field((), description="providers to ask when it fails")
    llm_wait_s: float = Field(8.0, gt=0, le=600, description="seconds that the chat waits for advice")
    llm_timeout_s: float = Field(30.0, gt=0, le=600, description="seconds that one request to a provider may take")
    llm_max_tokens: int = Field(2048, ge=64, le=128_000, description="tokens that one answer may have")
    llm_daily_calls: int | None = Field(200, ge=0, description="calls to providers in a day, at most")
    llm_daily_tokens: int | None = Field(500_000, ge=0, description="tokens to and from providers in a day, at most")
    llm_daily_cost: float | None = Field(1.0, ge=0, description="US dollars for providers in a day, at most")
    llm_keep_prompts: bool = Field(False, description="keep what was asked of providers in the store, redacted")
    claude_model: str = Field(CLAUDE.model, description="model of Claude's that is asked")
    openai_model: str = Field(OPENAI.model, description="model of OpenAI's that is asked")
    gemini_model: str = Field(GEMINI.model, description="model of Gemini's that is asked")
    local_model: str = Field("", description="model of the local server; the first that it offers if left out")
    local_artifact: str = Field("", description="own GGUF artifact that helps in place of a local server")
    scripted_file: str = Field("", description="answers of the scripted provider, as JSON")
    anthropic_base_url: str = Field("", description="address of Claude, where it is not the usual one")
    openai_base_url: str = Field("", description="address of OpenAI, where it is not the usual one")
    gemini_base_url: str = Field("", description="address of Gemini, where it is not the usual one")
    local_base_url: str = Field(LOCAL.address, description="address of an OpenAI-compatible server")
    gpu_memory_limit: float = Field(8.0, gt=0, description="GB of GPU memory that plans may use")
    cpu_fallback: bool = Field(False, description="plan again on the CPU when the GPU runs out of memory")
    embedding_model: str = Field("", description="GGUF embedding model that benchmarks compare answers by")
    keep_16bit: bool = Field(False, description="keep the 16-bit GGUF that a quantization makes on the way")
    gate_kl: str = Field(KL_NATS, description="greatest mean KL divergence that passes, by bits, nats a token")
    gate_top1: str = Field(TOP1, description="least share of tokens with the same top choice, by bits")
    api_host: str = Field("127.0.0.1", description="address that the API server listens on")
    api_port: int = Field(8000, ge=1, le=65535, description="port that the API server listens on")
    api_reload: bool = Field(False, description="restart the API server when its code changes")
    anthropic_api_key: SecretStr | None = Field(None, description="key for Claude")
    openai_api_key: SecretStr | None = Field(None, description="key for OpenAI")
    gemini_api_key: SecretStr | None = Field(None, description="key for Gemini")
    google_api_key: SecretStr | None = Field(None, description="key for Gemini, older name")
    local_api_key: SecretStr | None = Field(None, description="key for the local server, where it wants one")
    hf_token: SecretStr | None = Field(None, description="Hugging Face token")
    huggingface_token: SecretStr | None = Field(None, description="Hugging Face token, older name")

    @field_validator("storage_backend", "log_level", "llm_provider", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("llm_provider")
    @classmethod
    def _provider(cls, value: str) -> str:
        return value if value == "none" else _checked_provider(value)

    @field_validator("llm_fallbacks", mode="before")
    @classmethod
    def _fallbacks(cls, value: Any) -> Any:
        """Return the providers from a list, or from names with commas between; "none" and empty names are left out."""
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list | tuple):
            return names
        said = [str(name).strip().lower() for name in names]
        return tuple(dict.fromkeys(_checked_provider(name) for name in said if name not in ("", "none")))

    @field_validator("llm_daily_calls", "llm_daily_tokens", "llm_daily_cost", mode="before")
    @classmethod
    def _no_limit(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() in ("none", "unlimited") else value

    @field_validator("gate_kl", "gate_top1")
    @classmethod
    def _bounds(cls, value: str) -> str:
        by_bits(value)
        return value

    def workspace(self, root: Path) -> Workspace:
        """Return the workspace at `root` with the folders that these settings name."""
        return at(root).relocated(
            {
                "models": self.models_dir,
                "artifacts": self.quantized_models_dir,
                "configs": self.configs_dir,
                "logs": self.logs_dir,
                "store": self.mcp_dir,
                "benchmarks": self.benchmarks_dir,
            }
        )


@cache
def model() -> type[Settings]:
    """Return Settings with the model, address and keys of the providers that other packages add."""
    extra: dict[str, Any] = {}
    for one in providers.added():
        extra[one.model_key] = (str, Field(one.model, description=f"model of {one.name} that is asked"))
        extra[one.address_key] = (str, Field(one.address, description=f"address of {one.name}"))
        extra |= {key: (SecretStr | None, Field(None, description=f"key for {one.name}")) for key in one.keys}
    return create_model("Settings", __base__=Settings, **extra) if extra else Settings


def keys() -> tuple[str, ...]:
    """Return the name of every setting, but for those of parts that this version lacks: they are read, and not
    listed."""
    return tuple(name for name in model().model_fields if name not in LATER)


@cache
def secrets() -> frozenset[str]:
    """Return the names of the settings that are secrets."""
    return frozenset(name for name, one in model().model_fields.items() if one.annotation == SecretStr | None)


class Loaded:
    """Settings with, for each value, where it came from: default, config.json, .env, environment or option."""

    def __init__(self, values: Settings, origins: Mapping[str, str], root: Path) -> None:
        self.values = values
        self.origins = dict(origins)
        self.root = root

    def describe(self, key: str) -> dict[str, Any]:
        """Return one setting as `config get` shows it: {"key", "value", "source", "description"}; the value of a secret
        only says whether it is set. Raises SettingsError for an unknown key."""
        _known(key)
        value = getattr(self.values, key)
        shown = ("set" if value else None) if key in secrets() else value
        return {"key": key, "value": shown, "source": self.origins.get(key, "default"),
                "description": model().model_fields[key].description}  # fmt: skip


def load(root: Path, options: Mapping[str, Any] | None = None) -> Loaded:
    """Read all settings of the workspace at `root`, from config.json, .env, the environment and `options`. Raises
    SettingsError that names the file, the key and the nearest right one."""
    given = {key: value for key, value in (options or {}).items() if value is not None}
    sources: list[tuple[str, PydanticBaseSettingsSource]] = [
        ("option", InitSettingsSource(model(), init_kwargs=given)),
        ("environment", EnvSettingsSource(model())),
        (DOTENV, DotEnvSettingsSource(model(), env_file=root / DOTENV)),
        (CONFIG, InitSettingsSource(model(), init_kwargs=read_config(root))),
    ]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, source in reversed(sources):
        found = {k: v for k, v in source().items() if k in model().model_fields and v != ""}
        merged.update(found)
        origins.update(dict.fromkeys(found, name))
    try:
        values = _checked(merged)
    except ValidationError as error:
        raise _explain(error, origins) from error
    return Loaded(values, origins, root)


def _checked(values: Mapping[str, Any]) -> Settings:
    """Return the settings made from values already gathered: no source is asked a second time."""
    return _given()(**values)


@cache
def _given() -> type[Settings]:
    return create_model("Settings", __base__=(_Given, model()))


class _Given(Settings):
    """Settings whose only source are the values handed in."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the values handed in."""
        return (init_settings,)


def read_config(root: Path) -> dict[str, Any]:
    """Return config.json as a dict, empty where there is none. Raises SettingsError with the line of the fault, or with
    the nearest name to an unknown key."""
    path = root / CONFIG
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"{path}, line {error.lineno}, column {error.colno}: {error.msg}.",
            f"Correct line {error.lineno} of {path}.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.", f"Check {path}.") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path} is not a JSON object.", 'It should look like {"log_level": "info"}.')
    for key in document:
        if not key.startswith(COMMENT):
            _known(key, str(path))
    return document


def _checked_provider(name: str) -> str:
    """Return `name`, where it is a provider's. Raises ValueError that names the providers there are."""
    if name not in provider_names():
        raise ValueError(f"there is no provider '{name}'; there are {', '.join(provider_names())}")
    return name


def provider_names() -> tuple[str, ...]:
    """Return the providers of this installation: LQMF's own, then those of entry points. No provider is imported."""
    return tuple(dict.fromkeys((*(one.name for one in providers.OWN), *entry_points.points(PROVIDER_GROUP))))


def write_config(root: Path, key: str, text: str) -> Any:
    """Set `key` in config.json, keep the other keys and their order, and return the checked value. Raises
    SettingsError."""
    _known(key)
    if key in secrets():
        raise SettingsError(f"{key} is a secret and does not belong in {CONFIG}.", f"Put {key.upper()}=... into .env.")
    document = read_config(root)
    document[key] = text
    try:
        value = getattr(_checked(document), key)
    except ValidationError as error:
        raise _explain(error, dict.fromkeys(document, CONFIG)) from error
    document[key] = value
    write_json(root / CONFIG, document)
    return value


def _known(key: str, where: str = "") -> None:
    if key in model().model_fields:
        return
    guess = nearest(key.lower(), list(keys()))
    raise SettingsError(
        f"There is no setting '{key}'" + (f" ({where})." if where else "."),
        f"Did you mean '{guess}'?" if guess else "`lqmf config get` lists them all.",
    )


def _explain(error: ValidationError, origins: Mapping[str, str]) -> SettingsError:
    first = error.errors()[0]
    key = str(first["loc"][0]).lower()
    origin = origins.get(key, CONFIG)
    return SettingsError(f"{origin}: {key} is not right: {why(first['msg'])}.", f"Correct {key} in {origin}.")


def why(message: str) -> str:
    """Return pydantic's message about a value, without the prefix that it gives to an error of our own validators."""
    return message.removeprefix("Value error, ")


def secret(loaded: Loaded, key: str) -> str | None:
    """Return the clear value of a secret, for handing to a client; None where it is not set."""
    value: SecretStr | None = getattr(loaded.values, key)
    return value.get_secret_value() if value else None


def by_bits(text: str) -> dict[int, float]:
    """Return the table that a setting writes as "8:0.005,4:0.1": bounds by bits. Raises ValueError that says what is
    wrong with it."""
    found: dict[int, float] = {}
    for part in text.split(","):
        bits, colon, bound = (piece.strip() for piece in part.partition(":"))
        if not colon or not bits.isdecimal() or not _is_number(bound):
            raise ValueError(f"'{part.strip()}' is no bound; write bits and bound, like 4:0.1")
        found[int(bits)] = float(bound)
    return found


def _is_number(text: str) -> bool:
    try:
        return 0 <= float(text) < math.inf
    except ValueError:
        return False
