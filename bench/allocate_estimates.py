"""Ways of estimating what a unit of a tensor's error costs, for `bench/allocate.py` to compare.

Measured on groups is what LQMF does; the others stand here only: the Fisher information of the outputs from one
backward pass, and noise pushed through one block at a time without any backward pass. Both need torch and the model's
own files. All give nats a token for a unit of the errors table, by GGUF tensor name, but for a common factor.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from lqmf.model_files.gguf_header import GgufHeader
from lqmf.quantization.gguf.converter.toolchain import Toolchain

EMBEDDING, HEAD = "token_embd.weight", "output.weight"


class Source:
    """The model's own files in torch, its matrices by their GGUF names."""

    def __init__(self, folder: Path, header: GgufHeader, tools: Toolchain) -> None:
        sys.path.insert(0, str(tools.gguf_py))
        import gguf

        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
        arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == header.architecture)
        names = gguf.get_tensor_name_map(arch, self.model.config.num_hidden_layers)
        self.embedding, self.head = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        self.tied = HEAD not in {tensor.name for tensor in header.tensors}
        self.linear: dict[str, Any] = {}
        for path, module in self.model.named_modules():
            if isinstance(module, torch.nn.Linear) and module is not self.head and (found := names.get_name(path)):
                self.linear[f"{found}.weight"] = module


def fisher(source: Source, windows: Sequence[Sequence[int]]) -> dict[str, float]:
    """Half the mean squared gradient of the likelihood of the model's own guesses, by each matrix's outputs: with
    inputs and outputs taken as independent, KL = 1/2 sum_i E[g_i^2] sum_j E[a_j^2] error_ij^2."""
    squares, counts = defaultdict[str, float](float), defaultdict[str, int](int)
    hidden = 0.0

    def watch(name: str) -> Any:
        def hook(_module: Any, inputs: Any, output: torch.Tensor) -> None:
            nonlocal hidden
            if name == HEAD:
                hidden += float(inputs[0].square().mean()) / len(windows)

            def take(gradient: torch.Tensor) -> None:
                squares[name] += float(gradient.square().sum())
                counts[name] += gradient.numel()

            output.requires_grad_() if output.is_leaf else None
            output.register_hook(take)

        return hook

    modules = {**source.linear, EMBEDDING: source.embedding, HEAD: source.head}
    handles = [module.register_forward_hook(watch(name)) for name, module in modules.items()]
    for window in windows:
        logits = source.model(input_ids=torch.tensor([window])).logits[0].log_softmax(-1)
        guessed = torch.multinomial(logits.detach().exp(), 1)
        logits.gather(1, guessed).sum().backward()
    for handle in handles:
        handle.remove()
    return _ends(source, {name: squares[name] / counts[name] / 2 for name in squares}, hidden)


def _ends(source: Source, found: dict[str, float], hidden: float) -> dict[str, float]:
    """The two ends have no importance: their errors are plain sums over all rows, of which a token meets one at the
    input; at the output each row is weighed by the mean square `hidden` of what it multiplies."""
    ends = {EMBEDDING: found[EMBEDDING] / source.embedding.num_embeddings, HEAD: found[HEAD] * hidden}
    if source.tied:
        ends = {EMBEDDING: ends[EMBEDDING] + ends[HEAD]}
    return {name: cost for name, cost in found.items() if name not in (EMBEDDING, HEAD)} | ends


def propagated(source: Source, windows: Sequence[Sequence[int]], measured: dict[str, float]) -> dict[str, float]:
    """Noise of a known size added to one matrix's outputs, pushed through its own block: the block's relative change
    for a unit of error. `measured` has the ends and one inner tensor, measured, which set the scale."""
    found: dict[str, float] = defaultdict(float)
    blocks = max((m for m in source.model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    random = torch.Generator().manual_seed(1)
    for window in windows:
        for block, (args, kwargs) in _inputs(source.model, blocks, window):
            clean = _first(block(*args, **kwargs))
            for name, module in source.linear.items():
                if any(module is inner for inner in block.modules()):
                    with _noise(module, random) as added:
                        change = _first(block(*args, **kwargs)) - clean
                    relative = float(change.square().mean() / clean.square().mean())
                    found[name] += relative / added[0] / len(windows)
    inner = next(name for name in measured if name not in (EMBEDDING, HEAD))
    scale = measured[inner] / found[inner]
    return {name: cost * scale for name, cost in found.items()} | measured


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def _noise(module: Any, random: torch.Generator, size: float = 0.02) -> Iterator[list[float]]:
    """Noise on the module's outputs; the list then has its squared length for a token."""
    added: list[float] = []

    def hook(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(output.shape, generator=random) * output.square().mean().sqrt() * size
        added.append(float(noise.square().sum(-1).mean()))
        return output + noise

    handle = module.register_forward_hook(hook)
    try:
        yield added
    finally:
        handle.remove()


@torch.no_grad()
def _inputs(model: Any, blocks: Any, window: Sequence[int]) -> list[tuple[Any, tuple[Any, Any]]]:
    """What each block is given."""
    seen: list[tuple[Any, tuple[Any, Any]]] = []

    def keep(block: Any, args: Any, kwargs: Any) -> None:
        seen.append((block, (args, {**kwargs, "past_key_values": None, "use_cache": False})))

    handles = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in blocks]
    model(input_ids=torch.tensor([window]), use_cache=False)
    for handle in handles:
        handle.remove()
    return seen
