"""Compares several artifacts: rows of figures, which differences are significant, and which artifact to take."""
