"""Loads a model's folder through transformers: a source, a bitsandbytes or a GPTQ artifact, in old layouts too.

Safetensors only; no network; no Python of the model's own unless it was allowed. Errors of other libraries become
LQMF's here. Knows nothing of text or of generating.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf.declared import methods
from lqmf.engines.transformers.placement import Machine, Placement, missing, needs_accelerate, place
from lqmf.errors import (
    DoesNotFit,
    GpuOutOfMemory,
    IncompleteModel,
    LqmfError,
    OutOfMemory,
    RemoteCodeRefused,
    UnsupportedModel,
)
from lqmf.ggml import library
from lqmf.model_files import describe, safetensors_folder, safetensors_header, selection
from lqmf.model_files.config import is_mixture
from lqmf.model_files.safetensors_folder import Scheme, Stored
from lqmf.records import ModelInfo, ModelRef

# Model types whose GPTQ files transformers 5.23 does not load: it asks GPT-2's packed layers for the weights that they
# no longer have, and looks for matrices whole that gptqmodel 7.6 has split, as it does with the experts of every
# mixture. gptqmodel itself loads them.
_BY_GPTQMODEL = frozenset(("gpt2", "gpt_bigcode", "glm", "phi3", "gpt_oss", "falcon"))
# of torch's CPU allocator, and of what a library makes of a GPU's
_TOO_LITTLE = (
    "out of memory", "can't allocate memory", "not enough memory", "Cannot allocate memory", "DefaultCPUAllocator",
)  # fmt: skip
_FOREIGN = (
    RuntimeError, ValueError, KeyError, OSError, TypeError, AttributeError, ImportError, AssertionError, IndexError,
)  # fmt: skip


@dataclass
class Loaded:
    """A model in memory; `scratch` holds the weights that accelerate put on the disk, as long as the model lives."""

    model: Any
    info: ModelInfo
    placement: Placement
    scratch: tempfile.TemporaryDirectory[str] | None


def load(
    folder: Path,
    device: str,
    *,
    threads: int | None,
    memory_bytes: int | None,
    allow_remote_code: bool,
    writes: bool = True,
) -> Loaded:
    """Return the model in `folder`, ready to run: a model that continues text, or (`writes` False) a model of the class
    that its configuration names.

    Raises IncompleteModel, UnsafeFormat (pickled weights), RemoteCodeRefused, UnsupportedModel, NotBuilt where a
    package is missing, OutOfMemory, GpuOutOfMemory, DoesNotFit, UsageError.
    """
    info = describe.describe_folder(ModelRef("local", folder.name, path=str(folder)), folder)
    if info.weights_format == "pickle":
        raise selection.pickle_refused(folder.name)
    how = safetensors_folder.scheme(folder)
    weights = safetensors_folder.stored(folder)
    _require(how.method if how else None)
    with translated(folder.name):
        import torch

        torch.set_num_threads(threads or library.threads())
        placement = place(weights, _machine(), device, memory_bytes)
        if needs_accelerate(placement, weights) and importlib.util.find_spec("accelerate") is None:
            raise missing("accelerate", methods.BNB.install)
        scratch = tempfile.TemporaryDirectory(prefix="lqmf-offload-") if placement.memory else None
        config = configuration(folder, allow_remote_code=allow_remote_code)
        _tell_scheme(config, how, placement)
        if writes:
            _refuse_what_continues_nothing(folder.name, config, allow_remote_code)
        if how is not None and how.method == "gptq" and by_gptqmodel(info.model_type, info.config):
            return Loaded(_by_gptqmodel(folder, placement, allow_remote_code), info, placement, scratch)
        kind = _class(config, writes)
        model = _from_pretrained(kind, folder, config, placement, weights, scratch, allow_remote_code)
    return Loaded(model, info, placement, scratch)


def by_gptqmodel(model_type: str | None, config: Mapping[str, Any]) -> bool:
    """Return whether only gptqmodel loads a GPTQ artifact of such a model."""
    return model_type in _BY_GPTQMODEL or is_mixture(config)


def _require(method: str | None) -> None:
    declared = methods.of(method or "")
    for module, package in declared.packages.items():
        if importlib.util.find_spec(module) is None:
            raise missing(package, declared.install)
    if method in ("gptq", "awq"):
        os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # on two cores its thread pool refuses to start otherwise


def _machine() -> Machine:
    import psutil
    import torch

    free = psutil.virtual_memory().available
    if not torch.cuda.is_available():
        return Machine(free)
    return Machine(free, torch.cuda.mem_get_info()[0], torch.cuda.is_bf16_supported())


def configuration(folder: Path, *, allow_remote_code: bool) -> Any:
    """Return the configuration. Raises RemoteCodeRefused."""
    from transformers import AutoConfig

    _refuse_remote_code(folder, allow_remote_code)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=allow_remote_code, local_files_only=True)
    files, index = safetensors_header.weights(folder), selection.index_of([path.name for path in folder.iterdir()])
    config.transformers_weights = files[0].name if len(files) == 1 else index
    return config


def _tell_scheme(config: Any, how: Scheme | None, placement: Placement) -> None:
    """Say in `config`, of an old layout too, how the weights are quantized."""
    if how is not None:
        told = dict(how.told)
        if how.method == "bnb" and how.bits == 4:
            told["bnb_4bit_compute_dtype"] = placement.dtype  # else it rounds to the dtype it was made with
        config.quantization_config = told


def _refuse_remote_code(folder: Path, allowed: bool) -> None:
    """Raise RemoteCodeRefused for a model that needs its own Python, unless it is `allowed`. If transformers has a
    class for the model, its own Python is not needed and not run."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    said = safetensors_folder.config(folder)
    if not allowed and "auto_map" in said and said.get("model_type") not in CONFIG_MAPPING_NAMES:
        raise _needs_its_code(folder.name)


def _refuse_what_continues_nothing(name: str, config: Any, allow_remote_code: bool) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    made = (config.architectures or [None])[0]
    writers = {each for value in CAUSAL.values() for each in ((value,) if isinstance(value, str) else value)}
    if made in writers or (allow_remote_code and getattr(config, "auto_map", None)):
        return
    kind = "an encoder-decoder" if getattr(config, "is_encoder_decoder", False) else "no model that continues text"
    raise UnsupportedModel(f"{name} is {made or config.model_type}, {kind}.", "Choose a decoder-only model to run.")


def _class(config: Any, writes: bool) -> Any:
    """Return the class that loads the model."""
    import transformers

    named = getattr(transformers, str((config.architectures or [""])[0]), None)
    if writes or not hasattr(named, "from_pretrained"):
        return transformers.AutoModelForCausalLM if writes else transformers.AutoModel
    return named


def _from_pretrained(
    kind: Any,
    folder: Path,
    config: Any,
    placement: Placement,
    weights: Stored,
    scratch: tempfile.TemporaryDirectory[str] | None,
    allow_remote_code: bool,
) -> Any:
    import torch

    where: dict[str, Any] = {}
    if placement.memory:
        assert scratch is not None
        where = {"device_map": "sequential", "max_memory": dict(placement.memory), "offload_folder": scratch.name}
    elif needs_accelerate(placement, weights):
        where = {"device_map": {"": "cuda:0" if placement.device == "gpu" else "cpu"}}
    model, report = kind.from_pretrained(
        folder,
        config=config,
        dtype=getattr(torch, placement.dtype),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=allow_remote_code,
        output_loading_info=True,
        **where,
    )
    if report["missing_keys"]:
        raise IncompleteModel(
            f"{folder.name} lacks {len(report['missing_keys'])} tensors, such as {min(report['missing_keys'])}.",
            "Get the folder again; `lqmf verify NAME` says which file differs.",
        )
    if placement.dtype == "float32":
        _widen(model)
    return model.eval()


def _by_gptqmodel(folder: Path, placement: Placement, allow_remote_code: bool) -> Any:
    """Return the model, loaded on one device by gptqmodel, the library that made it. Raises DoesNotFit."""
    import torch
    from gptqmodel import GPTQModel

    if placement.memory:
        raise DoesNotFit(
            f"{folder.name} does not fit one device, and gptqmodel does not split it.", "Use --device cpu."
        )
    device = "cuda:0" if placement.device == "gpu" else "cpu"
    dtype = getattr(torch, placement.dtype)
    model = GPTQModel.load(str(folder), device=device, dtype=dtype, trust_remote_code=allow_remote_code).model
    if placement.dtype == "float32":
        _widen(model)
    return model.eval()


def _widen(model: Any) -> None:
    """Convert all floats that are not quantized to float32: transformers loads those of a bitsandbytes folder as they
    were saved, and refuses to cast them. The rounding of bfloat16 alone costs as much KL as int8 does."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()


def release() -> None:
    """Free the memory of models that are no longer used. Modules point at one another: only the garbage collector frees
    them."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextlib.contextmanager
def translated(name: str, quantizing: str | None = None) -> Iterator[None]:
    """Turn the errors that torch, safetensors and transformers raise about the model `name` into LQMF's. `quantizing`
    names the library that quantizes the model; None: the model is only run. Raises GpuOutOfMemory, OutOfMemory,
    IncompleteModel, RemoteCodeRefused, UnsupportedModel."""
    import torch
    from safetensors import SafetensorError

    meanwhile = " while it is quantized" if quantizing else ""
    try:
        yield
    except LqmfError:
        raise
    except torch.OutOfMemoryError as error:
        remedy = "Use --device cpu, or --cpu-fallback." if quantizing else "Use --device cpu, or fewer bits."
        raise GpuOutOfMemory(f"{name} does not fit the GPU's memory{meanwhile}.", remedy) from error
    except SafetensorError as error:
        raise IncompleteModel(f"{name} has a damaged file of weights: {error}.", "Get the folder again.") from error
    except _FOREIGN as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's word, not a library's
            raise
        told = str(error).strip().partition("\n")[0]
        if any(sign in told for sign in _TOO_LITTLE):
            remedy = "Close other programs." if quantizing else "Close other programs, or take fewer bits."
            raise OutOfMemory(f"{name} does not fit the memory{meanwhile}.", remedy) from error
        if "trust_remote_code" in told:
            raise _needs_its_code(name) from error
        what = f"{quantizing} cannot quantize" if quantizing else "transformers cannot run"
        reason = f"{what} {name}: {type(error).__name__}: {told}"
        raise UnsupportedModel(reason, "Try it as GGUF: `--method gguf`.") from error


def _needs_its_code(name: str) -> RemoteCodeRefused:
    return RemoteCodeRefused(
        f"{name} can only be run by Python code that comes with it, which is not run unasked.",
        "Allow it for this model when it is quantized, or choose a model that transformers knows.",
    )
