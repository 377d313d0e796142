"""Keeps the records of a workspace, in SQLite or JSON: artifacts, jobs, turns, measurements."""
