"""GPTQ by gptqmodel, layer by layer."""
