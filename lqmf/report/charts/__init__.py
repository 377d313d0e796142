"""The charts of the report, one a file: each makes a Chart from the report's Data, or says why it cannot."""
