"""The bitsandbytes backend: nf4 and fp4 (Dettmers et al., 2023, arXiv:2305.14314) and int8 (Dettmers et al., 2022,
arXiv:2208.07339), without calibration, for any model that transformers loads.

The folder holds packed weights in safetensors files and loads again without its source. Questions of the chat are
answered from metadata; the second half of this file runs in the worker.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lqmf import installed
from lqmf.declared.methods import BNB
from lqmf.engines.transformers.loading import translated
from lqmf.errors import UnsupportedModel, UsageError
from lqmf.events import Emit, stage
from lqmf.fit import formula
from lqmf.fit.needs import Needs
from lqmf.model_files import safetensors_header, selection
from lqmf.model_files.config import is_mixture
from lqmf.quantization import transformers_models
from lqmf.quantization.gguf.estimate import parameters as count
from lqmf.quantization.parameters import Parameter, Value, settled
from lqmf.quantization.promise import Built, Source
from lqmf.records import Estimate, Hardware, ModelInfo, QuantizationPlan, QuantType, Verdict

VERSIONS = ("bitsandbytes", "transformers", "torch", "accelerate", "safetensors")
FOUR = ("nf4", "fp4")
OUTPUTS = 32  # of a 4-bit layer, must be a multiple where a CPU has AVX512-BF16 (bitsandbytes/functional.py of 0.50.2)
_NARROW = "{} layers stay in 16 bits, such as {}: their outputs are no multiple of 32, which 4 bits need on some CPUs."

_PROGRAM_BYTES = 900_000_000  # torch, transformers and bitsandbytes, before a weight is read
_IMPORTS_SECONDS = 10.0
_CORE_SECONDS = 30.0  # of a billion weights
_READ_BYTES_PER_SECOND = 300e6

# what it cannot do under transformers 5.23: `replace_with_bnb_linear` (integrations/bitsandbytes.py) takes only
# torch.nn.Linear itself and Conv1D, and `MambaMixer` multiplies with weights of its layers itself (tests/architectures)
_CANNOT: Mapping[str, str] = {
    "falcon": "transformers runs it with linear layers of its own (FalconLinear), which bitsandbytes leaves out.",
    "mamba": "transformers uses the weights of its layers past them, so that packed ones do not predict as the source.",
}

PARAMETERS = (
    Parameter("double_quant", True, "the scales are quantized too: 0.4 bits a weight less", types=FOUR),
    Parameter(
        "compute_dtype", "bfloat16", "what weights become to be multiplied", ("bfloat16", "float16", "float32"),
        types=FOUR,
    ),
    Parameter(
        "threshold", 6.0, "activations beyond it are multiplied in 16 bits; 0: none", low=0, high=1e6, types=("int8",)
    ),
    Parameter("skip", (), "modules left in 16 bits beside the head: whole names, or how they end"),
)  # fmt: skip


class BitsAndBytesBackend:
    """The method bitsandbytes, through transformers, on a CPU or a CUDA GPU."""

    declared = BNB
    name = BNB.name
    title = BNB.title
    output_format = BNB.format
    streams = False
    types: Mapping[str, QuantType] = MappingProxyType(BNB.by_name)
    parameters: Mapping[str, Parameter] = MappingProxyType({one.name: one for one in PARAMETERS})

    def available(self) -> Verdict:
        """Return whether bitsandbytes, and accelerate, which places its weights, are installed; a no names the install
        command."""
        return installed.verdict(BNB.packages, BNB.install)

    def default_type(self, bits: int) -> str:
        """Return the recommended type of `bits` bits. Raises UsageError if there is none."""
        found = next((kind.name for kind in BNB.types if kind.bits == bits), None)
        if found is None:
            raise UsageError(f"bitsandbytes has no {bits:g}-bit type.", "Choose 4 bits (nf4) or 8 bits (int8).")
        return found

    def check(self, model: ModelInfo, hardware: Hardware, type: str | None = None) -> Verdict:
        """Return whether bitsandbytes can quantize `model` on `hardware`, from metadata alone. Raises UsageError for an
        unknown type."""
        _known(type)
        if (refusal := transformers_models.refusal(model, self.title)) is not None:
            return refusal
        if (why := _CANNOT.get(str(model.model_type))) is not None:
            return Verdict("no", why, "Take another method.")
        doubts = []
        if is_mixture(model.config):
            doubts.append("Its experts stay in 16 bits: transformers holds them in a way that bitsandbytes skips.")
        if not model.has_tokenizer:
            doubts.append("It has no tokenizer, so its text can be neither read nor measured.")
        if not hardware.gpus:
            doubts.append("On a CPU it runs slowly: bitsandbytes is made for GPUs.")
        if doubts:
            return Verdict("but", " ".join(doubts), "`--method gguf` runs fast everywhere.")
        return Verdict("yes", f"bitsandbytes takes the linear layers of any model; {model.architecture} is one.")

    def estimate(
        self, model: ModelInfo, plan: QuantizationPlan, hardware: Hardware, needs: Needs | None = None
    ) -> Estimate:
        """Return the size, disk and memory in bytes and the time in seconds that `plan` takes. The source is read
        tensor by tensor; the result stays in memory until it is saved. Raises as `settings` does."""
        self.settings(plan)
        kind, weights, ends = self.types[plan.type], count(model), transformers_models.ends(model)
        packed = int((weights - ends) * kind.bits_per_weight / 8) + 2 * ends
        size = needs.weights[kind.name].file_bytes if needs else packed
        seconds = _IMPORTS_SECONDS + model.weights_bytes / _READ_BYTES_PER_SECOND
        seconds += weights / 1e9 * _CORE_SECONDS / max(1, hardware.cores)
        return Estimate(size, size, _PROGRAM_BYTES + int(1.1 * size) + model.weights_bytes // 8, seconds)

    def needs(self, model: ModelInfo, skeleton: Path, contexts: tuple[int, ...], parallel: int) -> Needs:
        """Return the sizes and the memory of `model` as each type, by formula. Raises as `transformers_models.needs`
        does."""
        rules = {name: formula.bnb_4bit(name, double=True) for name in FOUR} | {"int8": formula.bnb_int8()}
        found = transformers_models.needs(model, skeleton, rules, self.name, contexts, parallel)
        return replace(found, splits=False)

    def vet(self, plan: QuantizationPlan, model: ModelInfo, skeleton: Path) -> None:
        """Refuse unknown parameters, modules to skip that the model does not have, options that only GGUF supports, and
        a calibration text, because bitsandbytes does not calibrate. Raises UsageError."""
        skip = self.settings(plan)["skip"]
        names = {tensor.name.rpartition(".")[0] for tensor in safetensors_header.tensors(skeleton)}
        for module in skip if isinstance(skip, tuple) else ():
            if not any(name.endswith(module) or f"{name}.".startswith(f"{module}.") for name in names):
                raise UsageError(
                    f"To skip: this model has no module '{module}'.", f"Its modules are named like {min(names)}."
                )
        transformers_models.refuse_wishes(plan, self.title)
        if plan.calibration:
            raise UsageError("bitsandbytes calibrates nothing.", "Leave --calibration out, or say `--method gptq`.")

    def settings(self, plan: QuantizationPlan) -> dict[str, Value]:
        """Return the value of every parameter of `plan`. Raises UsageError for an unknown type or parameter, and for a
        value that a parameter cannot have."""
        _known(plan.type)
        return settled(self.parameters, plan.parameters, plan.type, title=self.title)

    def quantize(
        self,
        plan: QuantizationPlan,
        source: Source,
        out: Path,
        work: Path,
        emit: Emit,
        later_plans: Sequence[QuantizationPlan] = (),
    ) -> Built:
        """Write quantized weights, configuration and tokenizer into `out`.

        Raises UnsupportedModel for a model that transformers cannot load or that has no linear layer to quantize,
        GpuOutOfMemory, OutOfMemory and RemoteCodeRefused.
        """
        settings = self.settings(plan)
        with translated(source.folder.name, quantizing="bitsandbytes"):
            model, notes = _loaded(plan, settings, source.folder, emit)
            with stage(emit, "write", "Writing the folder", "steps"):
                model.save_pretrained(out)
                transformers_models.copy_beside(source.folder, out)
        files, tensors = transformers_models.files(out), transformers_models.tensors(out)
        versions = installed.versions(VERSIONS)
        return Built(files, versions, base=str(source.folder), notes=notes, tensors=tensors)


BACKEND = BitsAndBytesBackend


def _known(type: str | None) -> None:
    if type is not None and type not in BitsAndBytesBackend.types:
        raise UsageError(f"bitsandbytes has no type {type}.", f"It has: {', '.join(BitsAndBytesBackend.types)}.")


# ---------------------------------------------------------------- in the worker


def _loaded(
    plan: QuantizationPlan, settings: Mapping[str, Value], folder: Path, emit: Emit
) -> tuple[Any, tuple[str, ...]]:
    """Return the model with packed weights, quantized while it is read, and notes for the user. Raises
    UnsupportedModel."""
    with stage(emit, "quantize", "Quantizing with bitsandbytes", "layers") as report:
        import torch

        transformers_models.limit_gpu(plan)
        config = json.loads((folder / selection.CONFIG).read_text(encoding="utf-8"))
        kind, skip = _class(config), list(_named(settings))
        usual, narrow = _skipped(kind, folder, plan) if skip or plan.type in FOUR else ([], [])
        model = kind.from_pretrained(
            folder,
            quantization_config=_how(plan.type, settings, [*usual, *skip, *narrow] if skip or narrow else []),
            device_map={"": 0 if plan.device == "gpu" else "cpu"},
            dtype=getattr(torch, transformers_models.dtype(config)),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=plan.allow_remote_code,
        )
        done = _packed(model)
        if not done:
            raise UnsupportedModel(
                f"bitsandbytes found no linear layer in {folder.name} to quantize.", "Try it as GGUF: `--method gguf`."
            )
        report(done, done, "")
    return model, (_NARROW.format(len(narrow), narrow[0]),) if narrow else ()


def _named(settings: Mapping[str, Value]) -> tuple[str, ...]:
    """The modules that the user leaves in 16 bits."""
    skip = settings["skip"]
    return tuple(map(str, skip)) if isinstance(skip, tuple | list) else ()


def _skipped(kind: Any, folder: Path, plan: QuantizationPlan) -> tuple[list[str], list[str]]:
    """Return the names of the modules that transformers itself leaves in 16 bits; and, for a 4-bit type, of the other
    layers whose number of outputs is no multiple of 32."""
    import torch
    from transformers import AutoConfig
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=plan.allow_remote_code)
    with torch.device("meta"):  # names and shapes alone
        model = kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
    usual = set(get_keys_to_not_convert(model))
    if plan.type not in FOUR:
        return sorted(usual), []
    narrow = [
        name
        for name, layer in model.named_modules()
        if (isinstance(layer, Conv1D) and layer.nf % OUTPUTS)
        or (type(layer) is torch.nn.Linear and layer.out_features % OUTPUTS)
    ]
    return sorted(usual), [name for name in narrow if name not in usual]


def _how(type: str, settings: Mapping[str, Value], skip: list[str]) -> Any:
    """Return transformers' settings for quantizing. `skip` replaces transformers' own list of modules left in 16 bits;
    empty keeps that list."""
    import torch
    from transformers import BitsAndBytesConfig

    skipped = {"llm_int8_skip_modules": skip} if skip else {}
    if type == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=settings["threshold"], **skipped)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=type,
        bnb_4bit_use_double_quant=settings["double_quant"],
        bnb_4bit_compute_dtype=getattr(torch, str(settings["compute_dtype"])),
        **skipped,
    )


def _class(config: Mapping[str, Any]) -> Any:
    """Return the class that the configuration names, else transformers' class for models that continue text."""
    import transformers

    names = config.get("architectures") or [""]
    found = getattr(transformers, str(names[0]), None)
    return found if hasattr(found, "from_pretrained") else transformers.AutoModelForCausalLM


def _packed(model: Any) -> int:
    """Return the number of layers that are packed."""
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    return sum(isinstance(module, Linear4bit | Linear8bitLt) for module in model.modules())
