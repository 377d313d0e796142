"""One pass from safetensors to finished GGUF files, resumed by a journal after an interruption."""
