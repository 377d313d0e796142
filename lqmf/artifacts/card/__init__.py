"""Writes the model card and the Modelfile of an artifact from its records."""
