"""Measures how well a model answers: prompts, scores, energy, many chats at once, and lm-evaluation-harness."""
