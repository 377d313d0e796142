"""A Llama of 7B parameters, a laptop and a card, and the planner that is asked about them: what advice is tested on."""

from __future__ import annotations

from typing import Any

from lqmf.planning.planner import Planner
from lqmf.planning.request import PlanRequest
from lqmf.quantization.registry import backends
from lqmf.records import Gpu, Hardware, ModelInfo, ModelRef, RemoteFile, Request
from tests.fit.shapes import GIB, MODELS, fitting

LAPTOP = Hardware("a processor", 4, 16 * GIB, 12 * GIB)
CARD = Hardware("a processor", 4, 16 * GIB, 12 * GIB, (Gpu("RTX 3070", 8 * GIB, 7 * GIB),))
SHAPE = MODELS["mistral-7b"]
CONFIG = {
    "model_type": "mistral",
    "architectures": ["MistralForCausalLM"],
    "hidden_size": SHAPE.width,
    "intermediate_size": SHAPE.ffn,
    "num_hidden_layers": SHAPE.layers,
    "num_attention_heads": SHAPE.heads,
    "num_key_value_heads": SHAPE.kv_heads,
    "vocab_size": SHAPE.vocabulary,
    "max_position_embeddings": SHAPE.trained,
}


def model(ref: ModelRef | None = None, **changes: Any) -> ModelInfo:
    """What its repository would say."""
    told: dict[str, Any] = {
        "commit": "c" * 40,
        "architecture": "MistralForCausalLM",
        "model_type": "mistral",
        "config": CONFIG,
        "files": (RemoteFile("model.safetensors", 2 * SHAPE.parameters),),
        "weights_bytes": 2 * SHAPE.parameters,
        "parameters": SHAPE.parameters,
        "dtype": "BF16",
        "context_length": SHAPE.trained,
        "vocabulary": SHAPE.vocabulary,
        **changes,
    }
    return ModelInfo(ref or ModelRef("hub", "ada/seven"), **told)


def planner(**settings: Any) -> Planner:
    """A planner that makes GGUF files, whatever else is installed here."""
    return Planner({"gguf": backends()["gguf"]}, gpu_memory_limit_gb=8, **settings)


def request(hardware: Hardware = LAPTOP, **slots: Any) -> PlanRequest:
    """What a plan is made from, where the user said `slots`."""
    return PlanRequest(Request.of(slots), model(), hardware, fitting(SHAPE, parallel=slots.get("parallel", 1)))
