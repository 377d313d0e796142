"""The methods that make artifacts, behind one promise: GGUF, GPTQ, bitsandbytes."""
