"""Artifacts as they lie on a shelf, for the report: folders with manifests, receipts and measurements by layer.

The figures are made up, of a shape that real ones have; nothing here says how good a type is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lqmf import workspace
from lqmf.records import Artifact, Candidate, Footprint, Gpu, Hardware, Loss, Manifest, ModelRef, Run, to_json
from lqmf.report.subjects import Data, subjects

EVIL = "org/<img src=x onerror=alert(1)>\"'&%{y}"
HARDWARE = Hardware("a processor", 2, 24 << 30, 20 << 30, (Gpu("a card", 8 << 30, 7 << 30),), "Linux")
CREATED = "2026-11-25T12:00:00+00:00"
CHECKS = ("loads", "weights_present", "finite_predictions", "stops", "speaks", "no_loops")
# type, bits, size of 1000 parts of the source, KL, tokens a second
TYPES = (
    ("Q8_0", 8, 531, 0.00012, 210.0),
    ("Q6_K", 6, 410, 0.0007, 250.0),
    ("Q5_K_M", 5, 355, 0.0010, 262.0),
    ("Q4_K_M", 4, 302, 0.0023, 301.0),
    ("IQ4_XS", 4, 272, 0.0036, 190.0),
    ("Q3_K_M", 3, 244, 0.0077, 290.0),
    ("Q3_K_L", 3, 262, 0.0091, 271.0),
    ("Q2_K", 2, 199, 0.033, 330.0),
)


class Shelf:
    """A workspace being filled; `artifacts` are in the order in which they were put there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.artifacts: list[Artifact] = []

    @property
    def benchmarks(self) -> Path:
        return self.root / "benchmarks"

    def put(self, model: str, type: str, bits: int, size: int, kl: float | None, speed: float, **more: Any) -> Artifact:
        """One artifact with its manifest and receipt; `more` changes the receipt, or `method`, `made`, `plan`."""
        method, made = more.pop("method", "gguf"), more.pop("made", len(self.artifacts))
        name = workspace.next_version(self.root / "quantized-models", workspace.safe_name(f"{model}_{method}_{type}"))
        folder = self.root / "quantized-models" / name
        receipt = {**_receipt(size, kl, speed), **more.pop("receipt", {})}
        artifact = Artifact(
            name=name,
            path=str(folder),
            method=method,
            bits=bits,
            type=type,
            size_bytes=size,
            source_size_bytes=size * 4,
            compression_ratio=4.0,
            model=model,
            created_at=f"2026-11-{made + 1:02d}T08:00:00+00:00",
            receipt=receipt,
        )
        plan = {**_plan(method, type, bits, size), **more.pop("plan", {})}
        assert not more, more
        manifest = Manifest(
            format_version=1,
            name=name,
            model=ModelRef("hub", model),
            commit=None,
            source_sha256={},
            plan=plan,
            files=(),
            versions={"lqmf": "0.1.0"},
            created_at=artifact.created_at,
            source_size_bytes=size * 4,
        )
        workspace.write_json(folder / workspace.MANIFEST, to_json(manifest))
        self.artifacts.append(artifact)
        return artifact

    def measure_layers(self, artifact: Artifact, layers: int, **more: Any) -> None:
        """A measurement by layer, as benchmarks/ hold it."""
        kinds = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
        tensors = [
            {"name": f"blk.{layer}.{kind}.weight", "type": "Q4_K" if place % 3 else "Q6_K", "standard_error": 1e-7}
            | {"kl_nats": 1e-5 * (1 + place) * (1 + abs(layer - layers / 2) ** 2)}
            for layer in range(layers)
            for place, kind in enumerate(kinds)
        ]
        tensors.append({"name": "token_embd.weight", "type": "Q6_K", "kl_nats": 3e-4, "standard_error": 1e-6})
        told = {"tensors": tensors, "all_kl_nats": sum(each["kl_nats"] for each in tensors) * 0.97, "base": "F16"}
        told |= {"text": {"name": "evaluation", "sha256": "e" * 64}, "tokens_evaluated": 1020, **more}
        about = {"name": artifact.name, "created_at": artifact.created_at, "size_bytes": artifact.size_bytes}
        document = {"kind": "layers", "measured_at": CREATED, "artifact": about, "layers": told}
        workspace.write_json(self.benchmarks / f"{artifact.name}-layers.json", document)

    def benchmark(self, artifact: Artifact, **overall: float | None) -> None:
        """A benchmark's result, as benchmarks/ hold it."""
        about = {"name": artifact.name, "created_at": artifact.created_at, "size_bytes": artifact.size_bytes}
        told = {"overall": overall, "prompts": {"name": "built-in", "asked": 12}, "reasons": {}}
        document = {"kind": "benchmark", "measured_at": CREATED, "artifact": about, "benchmark": told}
        workspace.write_json(self.benchmarks / f"{artifact.name}-benchmark.json", document)

    def data(self, earlier: list[dict[str, Any]] | None = None) -> Data:
        """What the report is drawn from."""
        return Data(subjects(self.artifacts, self.benchmarks), earlier or [], HARDWARE, CREATED, "0.1.0")


def full(root: Path) -> Shelf:
    """Many artifacts of three models, one of them with a hostile name; measured by layer, and some not at all."""
    shelf = Shelf(root)
    for place, (type, bits, share, kl, speed) in enumerate(TYPES):
        shelf.put("mistralai/Mistral-7B-v0.3", type, bits, share * 14_500_000, kl, speed / 20, made=place)
    shelf.put("mistralai/Mistral-7B-v0.3", "Q4_K_M", 4, 302 * 14_500_000, 0.0021, 15.2, made=20)
    shelf.put("mistralai/Mistral-7B-v0.3", "nf4", 4, 4_100_000_000, 0.011, 6.0, method="bnb", made=9)
    shelf.put("mistralai/Mistral-7B-v0.3", "", 4, 4_160_000_000, 0.0074, 7.1, method="gptq", made=10)
    for type, bits, share, kl, speed in TYPES[1:6:2]:
        domains = {
            name: {"kl_divergence": {"mean": kl * times}}
            for name, times in (("documentation", 1.0), ("prose", 0.8), ("code", 1.9), ("dialogue", 1.2))
        }
        shelf.put(EVIL, type, bits, share * 15_000, kl * 1.2, speed, made=11, receipt={"domains": domains})
    untested = {"kl_divergence": None, "perplexity": None, "top1_agreement": None}
    reasons = {name: "its source, org/gone, is not on this machine" for name in untested}
    shelf.put("org/gone", "Q8_0", 8, 900_000_000, None, 41.0, made=12, receipt={**untested, "reasons": reasons})
    for place, artifact in enumerate(shelf.artifacts[:5]):
        fine = 1 - place / 12
        shelf.benchmark(artifact, quality=fine, coherence=1 - place / 40, agreement=fine - 0.05, termination=1.0)
    shelf.measure_layers(shelf.artifacts[3], 32)
    shelf.measure_layers(shelf.artifacts[-3], 8)
    return shelf


def earlier(artifact: Artifact, **changes: Any) -> dict[str, Any]:
    """A record of an artifact as the store has it."""
    return {**vars(artifact), "deleted_at": None, **changes}


def _receipt(size: int, kl: float | None, speed: float) -> dict[str, Any]:
    loss = None if kl is None else {"mean": kl, "standard_error": kl / 60, "p99": kl * 7}
    return {
        "kl_divergence": loss,
        "perplexity": 47.69,
        "top1_agreement": 0.964,
        "tokens_evaluated": 16320,
        "window_tokens": 512,
        "text": {"name": "evaluation", "sha256": "e" * 64},
        "checks": [{"name": name, "passed": True, "detail": ""} for name in CHECKS],
        "tokens_per_second": {"prompt": speed * 2.8, "generation": speed},
        "peak_memory_bytes": {"rss": round(size * 1.03) + 90_000_000, "gpu": None},
        "load_seconds": 0.4,
        "bits_per_weight": 5.07,
        "size_bytes": size,
        "gate": {"passed": True, "reasons": []},
        "measured_on": {"cpu": "a processor", "gpu": None, "engine": "llama.cpp 0.3.36"},
        "prediction": {
            "size_bytes": _compared(size, size * 1.002),
            "peak_rss_bytes": _compared(size * 1.1, size * 1.03),
            "generation_tokens_per_second": _compared(speed, speed * 0.86),
            "kl_nats": _compared((kl or 0.004) * 1.7, kl or 0.004),
            "quantize_seconds": _compared(size / 5e7, size / 4e7),
        },
        "reasons": {"peak_memory_bytes.gpu": "it ran on the CPU"},
    }


def _compared(predicted: float, measured: float) -> dict[str, Any]:
    error = measured / predicted - 1
    return {"predicted": predicted, "measured": measured, "error": error, "missed": abs(error) > 0.1}


def _plan(method: str, type: str, bits: int, size: int) -> dict[str, Any]:
    memory = Footprint(size, size // 5, size // 20, 150 << 20)
    return {
        "id": f"{method}-{type}",
        "method": method,
        "bits": bits,
        "type": type,
        "device": "cpu",
        "memory_bytes": None,
        "run": to_json(Run(8192)),
        "candidates": [candidate(type, bits, Run(8192), memory)],
        "prediction": {"peak_rss_bytes": size * 1.1},
    }


def candidate(type: str, bits: int, run: Run, memory: Footprint) -> dict[str, Any]:
    """A way to run an artifact, as a plan's manifest holds it."""
    return to_json(Candidate("gguf", type, bits, run, memory.weights_ram, memory, Loss(0.01, "expected"), 1))
