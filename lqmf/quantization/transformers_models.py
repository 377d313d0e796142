"""The part that GPTQ and bitsandbytes share: both quantize a model as transformers loads it, into a folder that
transformers loads again.

The first half answers from metadata alone and imports nothing heavy; the second half runs in the worker. Knows neither
method.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lqmf import installed
from lqmf.errors import UsageError
from lqmf.fit import formula
from lqmf.fit.formula import TensorRule
from lqmf.fit.needs import MOST_CHATS, Needs
from lqmf.model_files import safetensors_header, selection
from lqmf.model_files.config import text_part
from lqmf.model_files.prequantized import quantized
from lqmf.quantization.refusals import unusable
from lqmf.records import ModelInfo, QuantizationPlan, Verdict

_AUTO = "models/auto"
_CONTEXTS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)


def refusal(model: ModelInfo, title: str) -> Verdict | None:
    """Return the reason why neither GPTQ nor bitsandbytes can quantize `model`; None if there is no reason. `title`
    names the method in the text."""
    if (found := unusable(model)) is not None:
        return found
    if told := quantized(model.config):
        how = told.get("quant_method") or "in some way"
        reason = f"Its weights are quantized already ({how}), and {title} starts from 16 bits."
        return Verdict("no", reason, "Take the model that it was made from, in 16 bits.")
    known = installed.table("transformers", f"{_AUTO}/auto_mappings.py", "CONFIG_MAPPING_NAMES")
    if known and model.model_type not in known:
        code = ": it is run by Python code of its own, which is not run here" if model.wants_remote_code else ""
        reason = f"transformers knows no '{model.model_type}' ({model.architecture}){code}."
        return Verdict("no", reason, "Choose a model that transformers knows.")
    return None


def writes_text(model: ModelInfo) -> bool:
    """Return whether the model's class continues text (a decoder), by transformers' own list; True if there is no
    list."""
    known = installed.table("transformers", f"{_AUTO}/modeling_auto.py", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")
    return not known or any(model.architecture in names for names in known.values())


def needs(
    model: ModelInfo,
    skeleton: Path,
    rules: Mapping[str, TensorRule],
    method: str,
    contexts: Sequence[int],
    parallel: int,
) -> Needs:
    """Return the sizes and the memory of `model` as each type in `rules`, by formula, for `parallel` chats; `contexts`
    (tokens) are sampled besides the usual ones. Raises UsageError for more than MOST_CHATS chats, UnsupportedModel for
    a configuration that does not tell its layers."""
    if parallel > MOST_CHATS:
        raise UsageError(f"{MOST_CHATS} chats at once are the most.", f"Say `--parallel {MOST_CHATS}`.")
    longest = formula.trained_context(model.config) or _CONTEXTS[-1]
    usual = [context for context in _CONTEXTS if context <= longest] or [longest]
    shapes = safetensors_header.tensors(skeleton)
    sampled = sorted({*usual, *contexts})
    return formula.needs(model.config, shapes, rules, method=method, contexts=sampled, parallel=parallel)


def ends(model: ModelInfo) -> int:
    """Return the number of weights in the embedding and the head, which both methods leave in 16 bits; a tied head adds
    none."""
    config = text_part(model.config)
    words = int(config.get("vocab_size") or model.vocabulary or 0)
    hidden = int(config.get("hidden_size") or config.get("n_embd") or config.get("d_model") or 0)
    tied = config.get("tie_word_embeddings", model.config.get("tie_word_embeddings", False))
    return words * hidden * (1 if tied else 2)


def refuse_wishes(plan: QuantizationPlan, title: str) -> None:
    """Raise UsageError for an option of `plan` that only GGUF supports. `title` names the method in the text."""
    wishes = {
        "--imatrix": plan.imatrix,
        "--keep": plan.keep,
        "--discard-source": plan.discard_source,
        "--adapter": plan.adapter,
    }
    for option, wished in wishes.items():
        if wished:
            raise UsageError(f"{title} does not take {option}.", f"Leave {option} out, or say `--method gguf`.")


# ---------------------------------------------------------------- in the worker


def copy_beside(source: Path, out: Path) -> None:
    """Copy tokenizer, chat template, generation settings and licence from `source` to `out`; they replace the files
    that a library wrote there."""
    for name in selection.choose([path.name for path in source.iterdir()], None).small:
        if name != selection.CONFIG:
            shutil.copyfile(source / name, out / name)


def files(out: Path) -> tuple[str, ...]:
    """Give the weight files in `out` the permissions of config.json, and return the paths of all files, relative to
    `out` and sorted."""
    mode = stat.S_IMODE((out / selection.CONFIG).stat().st_mode)
    for weights in out.glob("*.safetensors"):
        weights.chmod(mode)  # the library gives them to the owner alone
    return tuple(sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()))


def tensors(out: Path) -> dict[str, str]:
    """Return the type of each tensor in the files of `out`, by name, as safetensors spells it: packed weights are I32
    or U8."""
    return {tensor.name: tensor.dtype for tensor in safetensors_header.tensors(out)}


def limit_gpu(plan: QuantizationPlan) -> None:
    """Limit this process to the GPU memory (bytes) that the plan gives it; do nothing on a CPU."""
    if plan.device != "gpu" or not plan.memory_bytes:
        return
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, plan.memory_bytes / total), 0)


def dtype(config: Mapping[str, Any]) -> str:
    """Return the type of the weights that stay unquantized: the source's own if it is a half float, else "bfloat16"."""
    told = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    return told if told in ("float16", "bfloat16") else "bfloat16"
