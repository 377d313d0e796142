"""The providers' settings under their known name; see `lqmf.providers.config`."""

from lqmf.providers.config import LlmSettings, llm_settings

__all__ = ["LlmSettings", "llm_settings"]
