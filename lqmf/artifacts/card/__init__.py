"""The model card and the Modelfile of an artifact, written from its records."""
