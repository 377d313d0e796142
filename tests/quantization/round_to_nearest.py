"""Round-to-nearest, the peer that GPTQ is to beat: the same grid for the same matrices, without calibration.

The grid is GPTQ's own (Frantar et al., 2022, arXiv:2210.17323; gptqmodel's `Quantizer.find_params` with `sym`): of each
group of input columns, a scale of 2 max|w| / (2^bits - 1) and the middle of the range as the zero point.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any


def round_to_nearest(source: Path, out: Path, *, bits: int = 4, group: int = 128) -> Path:
    """The model in `source` with every linear layer of its blocks rounded, in float32, as a folder of its own."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    head = model.get_output_embeddings()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) and module is not head:
                module.weight.copy_(rounded(module.weight, bits, group))
    model.save_pretrained(out)
    for path in source.iterdir():
        if path.name.startswith(("tokenizer", "chat_template", "special_tokens")):
            shutil.copy(path, out / path.name)
    return out


def rounded(weight: Any, bits: int, group: int) -> Any:
    """`weight` (rows, columns) with each group of `group` columns on a grid of 2^bits levels."""
    import torch

    levels, middle = 2**bits - 1, 2 ** (bits - 1)
    groups = weight.reshape(weight.shape[0], -1, group)
    scale = (2 * groups.abs().amax(-1, keepdim=True) / levels).clamp(min=1e-12)
    steps = torch.clamp(torch.round(groups / scale) + middle, 0, levels)
    return ((steps - middle) * scale).reshape(weight.shape)
