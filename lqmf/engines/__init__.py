"""Engines: each runs models of one format behind the same promise. Knows nothing of artifacts, jobs or measuring."""
