"""llama.cpp's official converter: where it is, how it is run, and what is put right around it."""
