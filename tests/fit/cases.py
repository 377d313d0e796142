"""Written cases: a model, a machine, a wish, and what someone who knows would advise.

`ram` and `gpu` are GiB that a plan may use (a card of 8 GiB less the usual half for others is 7.5); the advice is
"type cache context layers", with `all`, `some` or `no` layers on the GPU; None where nothing fits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lqmf.fit.solver import Wish

Q8_ONLY = frozenset({"Q8_0"})
THREE_BITS = frozenset({"Q3_K_M", "IQ3_S"})


@dataclass(frozen=True)
class Case:
    model: str
    ram: float
    gpu: float
    advice: str | None
    wish: Wish = field(default_factory=Wish)

    def __str__(self) -> str:
        said = {name: value for name, value in vars(self.wish).items() if value != getattr(Wish(), name)}
        if self.wish.types:
            said["types"] = sorted(self.wish.types)  # a set's order changes from one process to the next
        return f"{self.model}, {self.ram:g}+{self.gpu:g} GiB, {said or 'no wish'}"


CASES = (
    # 7B and 8B without a GPU
    Case("llama-8b", 24, 0, "Q4_K_M f16/f16 8192 no"),
    Case("llama-8b", 6, 0, "Q4_K_M f16/f16 8192 no"),
    Case("llama-8b", 5.4, 0, "Q4_K_M f16/f16 4096 no"),
    Case("llama-8b", 5, 0, "IQ4_XS f16/f16 4096 no"),
    Case("llama-8b", 3.9, 0, "IQ3_S q8_0/q8_0 4096 no"),
    Case("llama-8b", 3, 0, None),
    Case("llama-8b", 5.4, 0, "Q4_K_M q8_0/q8_0 8192 no", Wish(context=8192)),
    Case("llama-8b", 6, 0, "Q4_K_M q8_0/q8_0 16384 no", Wish(context=16384)),
    Case("llama-8b", 16, 0, "Q8_0 f16/f16 8192 no", Wish(priority="quality")),
    Case("llama-8b", 8, 0, "Q6_K f16/f16 8192 no", Wish(priority="quality")),
    Case("llama-8b", 16, 0, "IQ3_S f16/f16 8192 no", Wish(priority="speed")),
    Case("llama-8b", 16, 0, "IQ3_S q8_0/q4_0 4096 no", Wish(priority="size")),
    Case("llama-8b", 16, 0, "Q5_K_M f16/f16 8192 no", Wish(priority="quality", file_bytes=6_500_000_000)),
    Case("llama-8b", 16, 0, "Q8_0 f16/f16 8192 no", Wish(types=Q8_ONLY)),
    Case("llama-8b", 8, 0, None, Wish(types=Q8_ONLY)),
    Case("llama-8b", 16, 0, "Q4_K_M q4_0/q4_0 8192 no", Wish(cache=("q4_0", "q4_0"), types=frozenset({"Q4_K_M"}))),
    Case("mistral-7b", 16, 0, "Q4_K_M f16/f16 32768 no", Wish(context=32768)),
    Case("mistral-7b", 16, 0, "Q4_K_M f16/f16 8192 no", Wish(device="gpu")),  # there is none
    Case("mistral-7b", 4, 0, "IQ4_XS q4_0/q4_0 4096 no"),
    # 7B and 8B on a card of 8 GiB, of 6, of 12, of 24
    Case("llama-8b", 16, 7.5, "Q4_K_M f16/f16 8192 all"),
    Case("llama-8b", 16, 7.5, "Q4_K_M f16/f16 8192 all", Wish(context=8192)),
    Case("mistral-7b", 16, 7.5, "Q4_K_M f16/f16 8192 all", Wish(context=8192, device="gpu")),
    Case("llama-8b", 16, 7.5, "Q4_K_M f16/f16 16384 all", Wish(context=16384)),
    Case("llama-8b", 16, 7.5, "Q4_K_M q8_0/q8_0 32768 all", Wish(context=32768)),
    Case("llama-8b", 16, 5.5, "Q4_K_M f16/f16 4096 all"),
    Case("llama-8b", 16, 4.5, "Q4_K_M f16/f16 4096 some"),
    Case("llama-8b", 1, 4.5, "IQ4_XS f16/f16 4096 some"),
    Case("llama-8b", 16, 11.5, "Q8_0 f16/f16 8192 all", Wish(priority="quality")),
    Case("llama-8b", 16, 7.5, "Q8_0 f16/f16 4096 some", Wish(priority="quality")),
    Case("llama-8b", 0.7, 7.5, "Q6_K f16/f16 8192 all", Wish(priority="quality")),
    Case("llama-8b", 16, 7.5, "IQ3_S f16/f16 8192 all", Wish(priority="speed")),
    Case("llama-8b", 16, 7.5, "IQ3_S q8_0/q8_0 4096 all", Wish(priority="size")),
    Case("llama-8b", 16, 7.5, "Q4_K_M f16/f16 8192 no", Wish(device="cpu")),
    Case("llama-8b", 16, 7.5, "Q8_0 f16/f16 8192 some", Wish(types=Q8_ONLY, context=8192, device="gpu")),
    Case("llama-8b", 16, 11.5, "Q4_K_M f16/f16 8192 all", Wish(context=8192, parallel=4)),
    Case("llama-8b", 16, 7.5, "Q4_K_M q8_0/q8_0 8192 all", Wish(context=8192, parallel=4)),
    Case("llama-8b", 16, 23.5, "Q4_K_M f16/f16 8192 all"),
    # larger ones
    Case("dense-30b", 32, 7.5, "Q4_K_M f16/f16 8192 some", Wish(context=8192)),
    Case("dense-30b", 8, 7.5, "IQ3_S q8_0/q8_0 8192 some", Wish(context=8192)),
    Case("dense-30b", 6, 7.5, "Q2_K q8_0/q8_0 8192 some", Wish(context=8192)),
    Case("dense-30b", 5, 7.5, None, Wish(context=8192)),
    Case("dense-30b", 32, 23.5, "Q4_K_M f16/f16 8192 all"),
    Case("dense-30b", 32, 23.5, "Q4_K_M q8_0/q8_0 32768 all", Wish(context=32768)),
    Case("dense-30b", 16, 0, "Q3_K_M f16/q8_0 4096 no"),
    Case("qwen3-30b-a3b", 24, 7.5, "Q4_K_M f16/f16 8192 some"),
    Case("qwen3-30b-a3b", 32, 0, "Q4_K_M f16/f16 32768 no", Wish(context=32768)),
    Case("qwen3-30b-a3b", 16, 0, "IQ4_XS f16/f16 4096 no"),
    Case("gemma3-12b", 16, 11.5, "Q4_K_M f16/f16 32768 all", Wish(context=32768)),
    Case("gemma3-12b", 16, 7.5, "Q4_K_M f16/f16 8192 some", Wish(context=8192)),
    Case("gemma3-12b", 16, 7.5, "Q3_K_M f16/f16 8192 all", Wish(context=8192, types=THREE_BITS)),
    Case("llama-70b", 24, 23.5, "Q4_K_M f16/f16 4096 some"),
    Case("llama-70b", 64, 0, "Q4_K_M f16/f16 8192 no"),
    Case("llama-70b", 16, 11.5, "Q2_K f16/f16 4096 some"),
    Case("llama-70b", 8, 7.5, None),
    # small ones
    Case("gpt2", 2, 0, "Q4_K_M f16/f16 1024 no"),
    Case("gpt2", 2, 0, "Q8_0 f16/f16 1024 no", Wish(priority="quality")),
    Case("gpt2", 0.25, 0, "Q4_K_M q8_0/q8_0 1024 no"),
    Case("llama-1b", 4, 0, "Q4_K_M f16/f16 8192 no"),
    Case("llama-1b", 2, 0, "Q8_0 f16/f16 8192 no", Wish(priority="quality")),
    Case("llama-1b", 4, 3.5, "Q4_K_M f16/f16 32768 all", Wish(context=32768, device="gpu")),
    Case("llama-1b", 1, 0, "Q4_K_M q8_0/q8_0 4096 no"),
)
