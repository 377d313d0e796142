"""The charts of the report, one a file: each makes a Chart of the report's Data, and says why where it cannot."""
