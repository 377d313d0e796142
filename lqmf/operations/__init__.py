"""What LQMF can do, one operation a file: `run(app, request, ask)` gives back a typed record. Draws nothing."""
