"""Whether an artifact is sound: structure, weights, first logits and templates held against its source."""
