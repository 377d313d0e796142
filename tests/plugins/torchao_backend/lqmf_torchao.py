"""torchao's int8 weights (one scale a row, no calibration) as a quantization method of LQMF, for any model that
transformers loads. A package of its own: it imports `lqmf.plugin` and no other part of LQMF.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lqmf.plugin import backend as lqmf
from lqmf.plugin.backend import Built, Emit, Estimate, Hardware, ModelInfo, Needs, QuantizationPlan, Source, Verdict

METHOD = lqmf.Method(
    "torchao",
    "torchao",
    r"torch[ -]?ao",
    types=(lqmf.QuantType("int8wo", 8, 8.1, summary="integers with one scale a row; next to no loss"),),
    aliases={"int8": "int8wo"},
    packages={"torchao": "torchao", "accelerate": "accelerate"},
    install="pip install lqmf-torchao",
    tags=("torchao",),
    usage={
        "With transformers and torchao": "from transformers import {kind}\n\n"
        'model = {kind}.from_pretrained({folder}, device_map="auto")  # pip install torchao'
    },
    symbol="star",
    kl="8:0.004",
    remedies={0: "another method"},
)
_PROGRAM_BYTES = 1_500_000_000  # torch, transformers and torchao, before a weight is read


def _stored(tensor: lqmf.TensorShape) -> lqmf.Stored:
    if not lqmf.linear(tensor):
        return lqmf.other_weights(tensor)
    return lqmf.Stored(tensor.elements + 2 * tensor.shape[0], "int8")


class TorchaoBackend:
    """Int8WeightOnlyConfig, through transformers."""

    declared = METHOD
    name, title, output_format = METHOD.name, METHOD.title, METHOD.format
    streams = False
    types = METHOD.by_name
    parameters: Mapping[str, lqmf.Parameter] = {}

    def available(self) -> Verdict:
        return lqmf.verdict(METHOD.packages, METHOD.install)

    def default_type(self, bits: int) -> str:
        if bits != 8:
            raise lqmf.UsageError(f"torchao has no {bits:g}-bit type here.", "Choose 8 bits.")
        return "int8wo"

    def check(self, model: ModelInfo, hardware: Hardware, type: str | None = None) -> Verdict:
        _known(type)
        return lqmf.refusal(model, self.title) or Verdict("yes", "torchao takes the linear layers of any model.")

    def estimate(
        self, model: ModelInfo, plan: QuantizationPlan, hardware: Hardware, needs: Needs | None = None
    ) -> Estimate:
        size = needs.weights["int8wo"].file_bytes if needs else model.weights_bytes // 2 + lqmf.ends(model)
        return Estimate(size, size, _PROGRAM_BYTES + 2 * model.weights_bytes, 20 + model.weights_bytes / 1e8)

    def needs(self, model: ModelInfo, skeleton: Path, contexts: tuple[int, ...], parallel: int) -> Needs:
        return lqmf.needs(model, skeleton, {"int8wo": lqmf.TensorRule(8, _stored)}, self.name, contexts, parallel)

    def vet(self, plan: QuantizationPlan, model: ModelInfo, skeleton: Path) -> None:
        _known(plan.type)
        lqmf.settled(self.parameters, plan.parameters, title=self.title)
        lqmf.refuse_wishes(plan, self.title)
        if plan.calibration:
            raise lqmf.UsageError("torchao calibrates nothing.", "Leave --calibration out.")

    def quantize(
        self,
        plan: QuantizationPlan,
        source: Source,
        out: Path,
        work: Path,
        emit: Emit,
        ahead: Sequence[QuantizationPlan] = (),
    ) -> Built:
        _known(plan.type)
        lqmf.settled(self.parameters, plan.parameters, title=self.title)
        with lqmf.translated(source.folder.name, quantizing="torchao"):
            import torch
            from torchao.quantization import Int8WeightOnlyConfig
            from transformers import AutoModelForCausalLM, TorchAoConfig

            lqmf.limit_gpu(plan)
            with lqmf.stage(emit, "quantize", "Quantizing with torchao", "steps"):
                config = json.loads((source.folder / "config.json").read_text(encoding="utf-8"))
                model = AutoModelForCausalLM.from_pretrained(
                    source.folder,
                    quantization_config=TorchAoConfig(Int8WeightOnlyConfig()),
                    dtype=getattr(torch, lqmf.dtype(config)),
                    device_map={"": 0 if plan.device == "gpu" else "cpu"},
                    local_files_only=True,
                )
                model.save_pretrained(out)
            lqmf.copy_beside(source.folder, out)
        versions = lqmf.versions(("torchao", "transformers", "torch", "lqmf-torchao"))
        return Built(lqmf.files(out), versions, base=str(source.folder), tensors=lqmf.tensors(out))


def _known(type: str | None) -> None:
    if type not in (None, "int8wo"):
        raise lqmf.UsageError(f"torchao has no type {type}.", "It has: int8wo.")
