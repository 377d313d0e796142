"""The HTML report: one page with charts and tables of artifacts, drawn from their records. Measures nothing."""
