"""Finished artifacts: found on the shelf, verified, signed, rebuilt, and described in a model card."""
