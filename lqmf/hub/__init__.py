"""Hugging Face: metadata without weights, downloads that resume, tokens."""
