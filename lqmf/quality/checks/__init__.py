"""Checks that an artifact is sound: its structure, weights, first logits and templates, compared with its source's."""
