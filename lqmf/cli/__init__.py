"""The terminal: reading a line, asking, showing. Nothing that a server could not do too."""
