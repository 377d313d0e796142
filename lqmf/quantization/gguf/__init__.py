"""GGUF files by llama.cpp's converter and libggml's quantizers."""
