"""The texts that LQMF calibrates and measures with, cut into windows. Knows no model."""
