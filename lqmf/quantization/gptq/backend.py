"""The GPTQ backend: packed integers with a scale for every group of weights, rounded one column after another; the
error of each column is made up for in the columns after it (Frantar et al., 2022, arXiv:2210.17323).

gptqmodel, the maintained successor of auto-gptq, quantizes; transformers, vLLM and others load the folder. This module
answers questions of the chat from metadata; `make` does the work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from lqmf import installed
from lqmf.declared.methods import GPTQ, GROUP
from lqmf.engines.transformers.loading import by_gptqmodel
from lqmf.errors import UnsupportedModel, UsageError
from lqmf.events import Emit
from lqmf.fit import formula
from lqmf.fit.needs import Needs
from lqmf.model_files import safetensors_header
from lqmf.model_files.config import text_part
from lqmf.quantization import transformers_models
from lqmf.quantization.gguf.estimate import parameters as count
from lqmf.quantization.parameters import Parameter, Value, settled
from lqmf.quantization.promise import Built, Source
from lqmf.records import Estimate, Hardware, ModelInfo, QuantizationPlan, QuantType, Verdict
from lqmf.texts import calibration
from lqmf.texts.calibration_text import WINDOW_TOKENS

GROUPS = (-1, 16, 32, 64, 128, 256, 512, 1024)  # what its kernels take; -1: one group a matrix
# matrices of a layer that gptqmodel leaves as they are: routers, the small ones of recurrent layers, other towers
_LEFT = re.compile(
    r"(?:^|\.)(?:gate|router|shared_expert_gate|wg|in_proj_(?:a|b|ba)|dt_proj|x_proj)\.weight$|vision|visual|audio|image"
)
_OUTPUTS = 32  # of which a matrix must have a multiple: so many share a word of zero points, whatever the bits

# Measured on two cores with bench/memory_gptq.py and bench/gptq.py (widths of 256 and 2,048).
_PROGRAM_BYTES = 850_000_000  # torch, transformers, gptqmodel and the server it is forked from; no weight yet
_LAYER_BYTES, _HESSIAN_BYTES = 8, 20  # for a weight of one layer; for each pair of columns of its widest matrix
_IMPORTS_SECONDS = 5.0
_COLUMN_CORE_SECONDS, _WEIGHT_CORE_SECONDS = 0.3e-3, 0.24e-6  # of rounding
_FLOPS_PER_CORE = 1e11  # of the calibration's passes


# what gptqmodel 7.6.0 fails at under transformers 5.23 (tests/architectures)
_CANNOT: Mapping[str, str] = {
    "gpt_neox": "gptqmodel does not find its head, to which transformers 5 gives another name.",
    "mamba": "gptqmodel finds no layers in it that it can quantize.",
}

PARAMETERS = (
    Parameter("group_size", GROUP, "weights that share a scale; fewer lose less and take more; -1: a column", GROUPS),
    Parameter("desc_act", False, "act-order: columns with large activations first; less loss, slower to run"),
    Parameter("sym", True, "symmetric: no zero points"),
    Parameter("damp_percent", 0.05, "what is added to the Hessian's diagonal, of its mean", low=1e-4, high=0.99),
    Parameter("windows", 128, f"of {WINDOW_TOKENS} tokens, to calibrate on", low=1, high=4096),
)


class GptqBackend:
    """The method GPTQ by gptqmodel, on a CPU or a CUDA GPU, layer after layer. A type is only a number of bits, so a
    plan does not name it."""

    declared = GPTQ
    name = GPTQ.name
    title = GPTQ.title
    output_format = GPTQ.format
    streams = False
    types: Mapping[str, QuantType] = MappingProxyType(GPTQ.by_name)
    parameters: Mapping[str, Parameter] = MappingProxyType({one.name: one for one in PARAMETERS})

    def available(self) -> Verdict:
        """Return whether gptqmodel and the packages that load its files are installed; a no names the install
        command."""
        return installed.verdict(GPTQ.packages, GPTQ.install)

    def default_type(self, bits: int) -> str:
        """Return the name of the type of `bits` bits ("4bit"). Raises UsageError if there is none."""
        if (name := f"{bits:g}bit") not in self.types:
            raise UsageError(f"GPTQ has no {bits:g}-bit type.", "Choose 2, 3, 4 or 8 bits.")
        return name

    def check(self, model: ModelInfo, hardware: Hardware, type: str | None = None) -> Verdict:
        """Return whether gptqmodel can quantize `model` on `hardware`, from metadata alone. Raises UsageError for an
        unknown type."""
        _known(type)
        if (refusal := transformers_models.refusal(model, self.title)) is not None:
            return refusal
        if not model.has_tokenizer:
            return Verdict("no", "It has no tokenizer, and GPTQ calibrates on text.", "Choose a model that has one.")
        if model.config.get("is_encoder_decoder") or not _decodes(model):
            reason = f"{model.architecture} does not continue text, and GPTQ calibrates a decoder layer by layer."
            return Verdict("no", reason, "Take bitsandbytes: `--method bnb`.")
        if (why := _CANNOT.get(str(model.model_type))) is not None:
            return Verdict("no", why, "Take another method.")
        doubts = list(_doubts(model, hardware))
        if doubts:
            return Verdict("but", " ".join(reason for reason, _ in doubts), doubts[0][1])
        return Verdict("yes", f"gptqmodel knows {model.architecture}.")

    def estimate(
        self, model: ModelInfo, plan: QuantizationPlan, hardware: Hardware, needs: Needs | None = None
    ) -> Estimate:
        """Return the size, disk and memory in bytes and the time in seconds that `plan` takes. Finished layers lie on
        the disk until the end, beside the result. Raises as `settings` does."""
        settings = self.settings(plan)
        kind, shape, cores = self.types[f"{plan.bits}bit"], _shape(model), max(1, hardware.cores)
        width = kind.bits_per_weight
        size = needs.weights[kind.name].file_bytes if needs else shape.packed(width)
        group = int(str(settings["group_size"]))
        counted = int((needs.settings if needs else {}).get("group_size", GROUP))
        if group != counted and group > 0:
            size += int(shape.layers * shape.weights * (16 + kind.bits) * (1 / group - 1 / counted) / 8)
        tokens = int(str(settings["windows"])) * WINDOW_TOKENS
        flowing = 2 * 2 * tokens * shape.hidden  # into a layer and out of it, as half floats
        held = _LAYER_BYTES * shape.weights + _HESSIAN_BYTES * shape.widest**2 + 2 * shape.ends
        work = shape.layers * (_COLUMN_CORE_SECONDS * shape.columns + _WEIGHT_CORE_SECONDS * shape.weights)
        passes = 2 * 2 * shape.layers * shape.weights * tokens / _FLOPS_PER_CORE
        seconds = _IMPORTS_SECONDS + (work + passes) / cores
        return Estimate(size, 2 * size, _PROGRAM_BYTES + held + flowing, seconds)

    def needs(self, model: ModelInfo, skeleton: Path, contexts: tuple[int, ...], parallel: int) -> Needs:
        """Return the sizes and the memory of `model` with each number of bits, by formula, for groups of the usual
        size, or of the largest smaller one that divides the columns of every matrix: its `settings` say so. Raises
        UnsupportedModel where none does, and as `transformers_models.needs` does."""
        group = _group(model, skeleton)
        rules = {kind.name: formula.gptq(kind.bits, group) for kind in GPTQ.types}
        found = transformers_models.needs(model, skeleton, rules, self.name, contexts, parallel)
        return found if group == GROUP else replace(found, settings={"group_size": group})

    def vet(self, plan: QuantizationPlan, model: ModelInfo, skeleton: Path) -> None:
        """Refuse unknown parameters, groups that do not divide the columns of every matrix, options that only GGUF
        supports, and a calibration that is no text. Raises UsageError."""
        group = int(str(self.settings(plan)["group_size"]))
        if group > 0 and (odd := next((one for one in _matrices(model, skeleton) if one.columns % group), None)):
            raise UsageError(
                f"Groups of {group} do not divide the {odd.columns} columns of {odd.name}.",
                f"Say `--set group_size={_group(model, skeleton)}`, or leave it out.",
            )
        transformers_models.refuse_wishes(plan, self.title)
        if plan.calibration:
            calibration.check(plan.calibration)

    def settings(self, plan: QuantizationPlan) -> dict[str, Value]:
        """Return the value of every parameter of `plan`. Raises UsageError for an unknown type, number of bits or
        parameter, and for a value that a parameter cannot have."""
        _known(plan.type)
        self.default_type(plan.bits)
        return settled(self.parameters, plan.parameters, title=self.title)

    def quantize(
        self,
        plan: QuantizationPlan,
        source: Source,
        out: Path,
        work: Path,
        emit: Emit,
        later_plans: Sequence[QuantizationPlan] = (),
    ) -> Built:
        """Write quantized weights, configuration and tokenizer into `out`. See `make` for errors."""
        settings = self.settings(plan)
        from lqmf.quantization.gptq.make import make

        return make(plan, settings, source.folder, out, work, emit)


BACKEND = GptqBackend


def _known(type: str | None) -> None:
    if type and type not in GptqBackend.types:
        raise UsageError(f"GPTQ has no type {type}.", f"It has: {', '.join(GptqBackend.types)}.")


@dataclass(frozen=True)
class _Matrix:
    """A matrix that GPTQ rounds: a group of weights lies in one of its `columns` for each of its `outputs`."""

    name: str
    columns: int
    outputs: int


def _matrices(model: ModelInfo, skeleton: Path) -> Iterator[_Matrix]:
    """Yield the matrices of `model`; of experts stored as one tensor, whose order differs, both ways to read them."""
    for shape in filter(formula.linear, safetensors_header.tensors(skeleton)):
        if _LEFT.search(shape.name):
            continue
        outputs, columns = shape.shape[-2:]
        if model.model_type == "gpt2" or len(shape.shape) > 2:
            yield _Matrix(shape.name, outputs, columns)
        if model.model_type != "gpt2":
            yield _Matrix(shape.name, columns, outputs)


def _group(model: ModelInfo, skeleton: Path) -> int:
    """Return the largest size of groups up to the usual one that divides the columns of every matrix. Raises
    UnsupportedModel where none does, or where the outputs do not fill whole words."""
    matrices = list(_matrices(model, skeleton))
    narrow = next((one for one in matrices if one.outputs % _OUTPUTS), None)
    if narrow is not None:
        raise _does_not_divide(f"{narrow.name} has {narrow.outputs} outputs, and GPTQ packs {_OUTPUTS} together")
    sizes = [size for size in GROUPS if 0 < size <= GROUP and not any(one.columns % size for one in matrices)]
    if not sizes:
        odd = next(one for one in matrices if one.columns % min(size for size in GROUPS if size > 0))
        raise _does_not_divide(f"{odd.name} has {odd.columns} columns, which no size of groups divides")
    return max(sizes)


def _does_not_divide(why: str) -> UnsupportedModel:
    return UnsupportedModel(f"{why}.", "Take another method: `--method gguf` or `--method bnb`.")


def _doubts(model: ModelInfo, hardware: Hardware) -> Iterator[tuple[str, str]]:
    """Yield each doubt to be told beside a yes, with a remedy."""
    if (known := _definitions()) and model.model_type not in known:
        reason = f"gptqmodel has no description of '{model.model_type}' and will look for its layers by itself."
        yield reason, "If it does not find them: `--method gguf` or `--method bnb`."
    if by_gptqmodel(model.model_type, model.config):
        reason = "transformers does not load what is made of it; gptqmodel does, and LQMF runs it by that."
        yield reason, "`--method gguf` runs everywhere."
    if not hardware.gpus:
        yield "On a CPU it is slow to make and slow to run: it is made for GPUs.", "`--method gguf`"


def _definitions() -> Mapping[str, frozenset[str]]:
    """The model types that gptqmodel describes; empty where it is not installed."""
    return installed.table("gptqmodel", "models/auto.py", "MODEL_MAP")


def _decodes(model: ModelInfo) -> bool:
    """Return whether the model continues text. A model that also takes images or sound is not in transformers' list of
    decoders, but may be in gptqmodel's."""
    seeing = bool(model.config.get("vision_config") or model.config.get("audio_config"))
    return transformers_models.writes_text(model) or (seeing and model.model_type in _definitions())


@dataclass(frozen=True)
class _Shape:
    """A model's rough sizes, by its configuration: the number of layers; of one layer its weights, its matrices'
    columns together, and the columns of its widest matrix; `hidden`, the width between layers; `ends`, the weights of
    embedding and head."""

    layers: int
    weights: int
    columns: int
    widest: int
    hidden: int
    ends: int

    def packed(self, width: float) -> int:
        """Return the bytes of the model with `width` bits a weight in its layers and 16 bits elsewhere."""
        return int(self.layers * self.weights * width / 8) + 2 * self.ends


def _shape(model: ModelInfo) -> _Shape:
    config = text_part(model.config)

    def number(*names: str, default: int = 0) -> int:
        return int(next((config[name] for name in names if config.get(name)), default))

    layers = max(1, number("num_hidden_layers", "n_layer", "num_layers"))
    hidden = number("hidden_size", "n_embd", "d_model")
    inner = number("moe_intermediate_size", "intermediate_size", "n_inner", "ffn_dim", default=4 * hidden)
    experts = number("num_experts", "num_local_experts", "n_routed_experts", default=1)
    ends = transformers_models.ends(model)
    columns = 4 * hidden + experts * (2 * hidden + inner)
    return _Shape(layers, max(0, count(model) - ends) // layers, columns, max(hidden, inner), hidden, ends)
