"""One command a file: its options, and how its record is shown."""
