"""LLM providers, one a file: asked with a limit on time and cost, their answers checked."""
