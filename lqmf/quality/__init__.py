"""Measures how good an artifact is: receipts, checks, benchmarks, comparisons."""
