"""llama.cpp's official converter: where it is, how it is run, and which of its gaps are filled here."""
