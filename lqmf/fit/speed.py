"""Predicts the speed of a model on a calibrated machine, and the memory of the process that tests it.

Pure. Both are predicted for the quick test that a receipt comes from (`lqmf.jobs.tasks.probe`): a prompt of 256 tokens,
64 written after it, and 64 scored. Knows no model but its needs.

A token takes the time to read its weights, type by type; for each node of its graph, some waiting; attention to every
token in the cache; and the choice among the vocabulary. All of these rates were measured with an f16 cache; a quantized
cache is assumed to be as fast.
"""

from __future__ import annotations

from collections.abc import Mapping

from lqmf.fit.calibration import Calibration, Rates
from lqmf.fit.needs import Needs, Weights
from lqmf.model_files.tensor_types import TENSOR_TYPES
from lqmf.records import Run, Speed

CACHED_BYTES = 32 << 20  # of weights: fewer stay in the processor's caches from one token to the next
PROMPT_TOKENS, WRITTEN_TOKENS, SCORED_TOKENS = 256, 64, 64
_SCORING_CELLS = 256  # of the cache in which those are scored
_LOGIT_BYTES, _COPY_BYTES = (
    8,
    5,
)  # for each logit of them: llama.cpp's graph and output; for a moment our copy and a mask
_UNMEASURED_PROGRAM_BYTES = 60 << 20  # Python, our code, numpy and a CPU build of llama.cpp 0.3.36
_UNMEASURED_ENTRY_BYTES = 300  # of a vocabulary with merges, there
_ELEMENTS_PER_BYTE: Mapping[str, float] = {t.name.lower(): t.block / t.block_bytes for t in TENSOR_TYPES.values()}


def pace(calibration: Calibration, needs: Needs, weights: Weights, run: Run) -> Speed | None:
    """Predict the tokens a second of one chat on an empty context. None where a tensor type or the GPU was not
    measured.

    Layers on a GPU run at its rates and the others at the processor's, each with their share of everything.
    """
    part = gpu_part(weights, run.gpu_layers)
    prompt = written = 0.0
    for rates, share in ((calibration.cpu, 1 - part), (calibration.gpu, part)):
        if not share:
            continue
        read = {type.lower(): size for type, size in weights.read.items() if size}
        if rates is None or not rates.types.keys() >= read.keys():
            return None
        prompt += share * _prompt_seconds(rates, needs, weights, read)
        written += share * _token_seconds(rates, needs, weights, read)
    return Speed(PROMPT_TOKENS / prompt, 1 / written)


def gpu_part(weights: Weights, gpu_layers: int) -> float:
    """Return the part, 0..1, of the weights that a token reads that lies on a GPU."""
    whole = weights.output_bytes + sum(weights.layers)
    return weights.on_gpu(gpu_layers) / whole if whole else 0.0


def _token_seconds(rates: Rates, needs: Needs, weights: Weights, read: Mapping[str, int]) -> float:
    """Return the seconds for one written token, in the middle of the answer."""
    slower = {type.lower(): size * (rates.expert_reading - 1) for type, size in weights.chosen.items()}
    reading = sum(
        (size + slower.get(type, 0.0)) / rates.types[type].read_bytes_per_second for type, size in read.items()
    )
    looking = needs.attention * (PROMPT_TOKENS + WRITTEN_TOKENS / 2) / rates.attention_per_second
    same = looking + vocabulary(needs) * rates.vocabulary_seconds
    cached = rates.cached_reading * reading + same + needs.nodes * rates.cached_node_seconds
    otherwise = rates.whole_token * (reading + same + needs.nodes * rates.node_seconds)
    part = _cached(weights)
    part = part if weights.chosen or part == 1 else 0.0
    return part * cached + (1 - part) * otherwise


def _prompt_seconds(rates: Rates, needs: Needs, weights: Weights, read: Mapping[str, int]) -> float:
    """Return the seconds for the whole prompt; the head computes its last token only."""
    work = dict[str, float](read)
    head = weights.head.lower()
    if head in work:
        work[head] -= weights.output_bytes
    else:  # not told apart: as much of each type
        work = {type: size * (1 - weights.output_bytes / weights.read_bytes) for type, size in work.items()}
    for type, size in weights.chosen.items():
        work[type.lower()] += size * (rates.expert_multiplying - 1)
    multiplying = PROMPT_TOKENS * sum(
        max(0.0, size) * _ELEMENTS_PER_BYTE[type] / rates.types[type].multiply_adds_per_second
        for type, size in work.items()
    )
    cached = _cached(weights) == 1
    multiplying *= rates.cached_multiplying if cached else 1.0
    looking = needs.attention * PROMPT_TOKENS**2 / 2 / rates.prompt_attention_per_second
    passing = needs.attention * PROMPT_TOKENS * rates.passing_seconds
    return (1.0 if cached else rates.whole_prompt) * (
        multiplying + looking + passing + needs.nodes * rates.node_seconds
    )


def _cached(weights: Weights) -> float:
    """Return the part, 0..1, of the model that the processor's caches hold, counting every expert: the next token may
    choose other experts. A model whose tokens read all weights gains nothing from the caches unless it fits as a
    whole."""
    return min(1.0, CACHED_BYTES / max(1, weights.output_bytes + sum(weights.layers)))


def vocabulary(needs: Needs) -> int:
    """Return the number of entries of the vocabulary, computed from the logits kept (a row of 32-bit floats for each
    chat); 0 where the needs have no samples."""
    return needs.samples[0].output_bytes // (4 * needs.parallel) if needs.samples else 0


# ---------------------------------------------------------------- memory


def peak_rss(calibration: Calibration | None, needs: Needs, weights: Weights, run: Run) -> int:
    """Predict the peak resident bytes of the process that tests one chat.

    They are: the program and its vocabulary; the file's tensors (all are mapped, also those that move to a GPU) and the
    copies of those that llama.cpp rearranges; the caches of the chat and of a small context that scores (they are
    cleared when they are made, so all of them is touched); and the touched part of the compute buffers: first by
    scoring, whose logits are copied for a moment, then by a prompt.

    Without a calibration the rearranged copies are unknown and not counted, and the rest is as on the machine that this
    was written on.
    """
    entries = vocabulary(needs)
    if calibration is None:
        program = _UNMEASURED_PROGRAM_BYTES + entries * _UNMEASURED_ENTRY_BYTES
    else:
        program = calibration.base_rss_bytes + round(entries * calibration.vocabulary_rss_bytes)
    held = weights.in_ram(0) + (_copied(calibration.cpu, weights, run) if calibration else 0)
    cells = (needs.cache_bytes(count, run.k_type, run.v_type, run.ubatch) for count in (run.context, _SCORING_CELLS))
    scored = SCORED_TOKENS * entries
    working = _touched(needs, run, SCORED_TOKENS) + scored * _LOGIT_BYTES
    later = max(scored * _COPY_BYTES, _touched(needs, run, min(PROMPT_TOKENS, run.ubatch)))
    return program + held + sum(cells) // needs.parallel + working + later


def _copied(rates: Rates, weights: Weights, run: Run) -> int:
    """Return the bytes that are held twice; of experts also those that no token reads."""
    read_layers = weights.read_bytes - weights.output_bytes
    unread = sum(weights.layers) / read_layers if read_layers else 1.0
    known = {type: rate.copied for type, rate in rates.types.items()}
    twice = sum(size * known.get(type.lower(), 0.0) for type, size in weights.read.items())
    return round(twice * unread * (1 - gpu_part(weights, run.gpu_layers)))


def _touched(needs: Needs, run: Run, tokens: int) -> int:
    """Return the bytes of the compute buffers that a batch of `tokens` touches, on a short context: the line through
    two batch sizes."""
    small, large = needs.ubatches[-1], needs.ubatches[0]
    low, high = (needs.compute_bytes(needs.contexts[0], run.k_type, run.v_type, ubatch) for ubatch in (small, large))
    slope = (high - low) / (large - small) if large > small else high / large
    return max(0, round(high + slope * (tokens - large)))
