"""The binding to llama.cpp's native libraries, and the arithmetic on blocks of quantized weights."""
