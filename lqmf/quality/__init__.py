"""How good an artifact is: receipts, checks, benchmarks, comparisons."""
