"""What is collected is what flows into the weights: for a dense and a MoE model, held against transformers; and when
it stops, what is kept, and what is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqmf.errors import ModelError, UsageError
from lqmf.events import Event, Notice, Progress
from lqmf.model_files import imatrix_file
from lqmf.model_files.imatrix_file import Entry, Imatrix
from lqmf.quantization.gguf.imatrix import collect
from lqmf.quantization.gguf.imatrix.activations import Watched
from lqmf.quantization.gguf.imatrix.collect import Settings
from lqmf.quantization.gguf.imatrix.convergence import Halves
from lqmf.texts.calibration import of_file, windows
from tests.fixtures_gguf import DEMO, demo_gguf
from tests.quantization import models
from tests.quantization.bases import make_base
from tests.quantization.peers import peer

pytestmark = pytest.mark.slow  # the converter runs, or models are made

PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
}  # fmt: skip
MIXTRAL = models.Family(
    "mixtral",
    {
        "model_type": "mixtral", **models._GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2,
        "sliding_window": None,
    },
    "sentencepiece",
)  # fmt: skip


def ignore(_event: Event) -> None:
    """Progress is of no interest here."""


def some_windows(count: int, length: int, vocabulary: int, seed: int = 0) -> list[list[int]]:
    return np.random.default_rng(seed).integers(3, vocabulary, (count, length)).tolist()


def expected(model: Any, windows: list[list[int]]) -> dict[str, Any]:
    """Sums of squares by GGUF name, (n_matrices, n_columns), from hooks on the model's own modules in transformers."""
    import torch

    sums: dict[str, Any] = {}

    hooks = []
    for i, layer in enumerate(model.model.layers):
        for name, module in layer.named_modules():
            if name in PARTS:
                hooks.append(module.register_forward_pre_hook(dense_hook(sums, f"blk.{i}.{PARTS[name]}.weight")))
            elif name == "mlp.experts":
                hooks.append(module.register_forward_pre_hook(experts_hook(sums, f"blk.{i}")))
    with torch.inference_mode():
        for window in windows:
            model(torch.tensor([window]))
    for hook in hooks:
        hook.remove()
    return sums


def add(sums: dict[str, Any], name: str, squares: Any) -> None:
    sums[name] = sums.get(name, 0) + squares.double().numpy()


def dense_hook(sums: dict[str, Any], name: str) -> Callable[..., None]:
    return lambda _module, inputs: add(sums, name, inputs[0].reshape(-1, inputs[0].shape[-1]).square().sum(0)[None])


def experts_hook(sums: dict[str, Any], layer: str) -> Callable[..., None]:
    """What reaches each expert, and what it makes of it before its last multiplication."""
    import torch

    def hook(module: Any, inputs: Any) -> None:
        routed = [inputs[0][(inputs[1] == e).any(-1)] for e in range(module.num_experts)]
        reached = torch.stack([hidden.square().sum(0) for hidden in routed])
        middle = []
        for e, hidden in enumerate(routed):
            gate, up = (hidden @ module.gate_up_proj[e].T).chunk(2, dim=-1)
            middle.append((module.act_fn(gate) * up).square().sum(0))
        for part, squares in (("gate", reached), ("up", reached), ("down", torch.stack(middle))):
            add(sums, f"{layer}.ffn_{part}_exps.weight", squares)

    return hook


def difference(found: Imatrix, sums: dict[str, Any]) -> float:
    """The largest of |found - expected|, relative to the row's mean: a column that is hardly fed is not held to
    percents of nothing."""
    assert found.entries.keys() == sums.keys()
    return max(
        float((np.abs(found.entries[name].sums - rows) / rows.mean(-1, keepdims=True)).max())
        for name, rows in sums.items()
    )


# ---------------------------------------------------------------- against transformers


def test_a_dense_models_sums_are_those_of_transformers_and_no_other_texts() -> None:
    model, windows = models.load(DEMO), some_windows(3, 128, 4096)
    made = collect.collect(demo_gguf(), windows, ignore, settings=Settings(tokens=128), threads=1)
    assert difference(made.imatrix, expected(model, windows)) < 0.01
    assert difference(made.imatrix, expected(model, some_windows(3, 128, 4096, seed=1))) > 0.1
    assert {float(entry.counts[0]) for entry in made.imatrix.entries.values()} == {3 * 128.0}
    assert (made.imatrix.chunks, made.imatrix.chunk_tokens, made.tokens) == (3, 128, 384)


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small mixture of experts: its folder, and its GGUF."""
    work = tmp_path_factory.mktemp("mixtral")
    folder = models.build(MIXTRAL, work / "model")
    return folder, make_base(folder, work, ignore, name="mixtral").path


def test_a_moe_models_sums_and_counts_are_those_of_transformers_expert_by_expert(mixtral: tuple[Path, Path]) -> None:
    folder, gguf = mixtral
    windows = some_windows(3, 128, models.VOCABULARY)
    made = collect.collect(gguf, windows, ignore, settings=Settings(tokens=128), threads=1)
    sums = expected(models.load(folder), windows)
    assert difference(made.imatrix, sums) < 0.01
    counts = made.imatrix.entries["blk.0.ffn_down_exps.weight"].counts
    assert counts.shape == (4,)
    assert counts.sum() == 3 * 128 * 2
    exchanged = {name: np.roll(rows, 1, axis=0) for name, rows in sums.items()}
    assert difference(made.imatrix, exchanged) > 0.1


@pytest.mark.parametrize("which", ["dense", "moe"])
def test_on_the_same_text_llama_imatrix_finds_the_same(which: str, mixtral: tuple[Path, Path], tmp_path: Path) -> None:
    """Every sum within 1e-3 and every count equal, experts that took few tokens among them."""
    gguf = demo_gguf() if which == "dense" else mixtral[1]
    text, theirs = tmp_path / "text.txt", tmp_path / "theirs.gguf"
    text.write_text("".join(f"Line {i} says {i * i}, and no more than that.\n" for i in range(400)), encoding="utf-8")
    command = [peer("llama-imatrix"), "-m", gguf, "-f", text, "-o", theirs, "-c", "256", "--chunks", "8", "--no-ppl"]
    subprocess.run([*command, "-t", "1"], check=True, capture_output=True)
    settings = Settings(tokens=256, least=8, most=8)
    with Watched(gguf, threads=1) as model:
        chosen = windows(of_file(text), model, 256)
        found = collect.collect(model, chosen, ignore, settings=settings).imatrix
    expected = imatrix_file.read(theirs)
    assert found.entries.keys() == expected.entries.keys()
    for name, entry in expected.entries.items():
        assert np.array_equal(found.entries[name].counts, entry.counts)
        assert found.entries[name].sums == pytest.approx(entry.sums, rel=1e-3)


def test_what_comes_after_the_last_sum_may_be_left_out() -> None:
    """From the second window on the output head is not computed; the sums of a window stay what they were."""
    window = some_windows(1, 64, 4096)[0]
    with Watched(demo_gguf(), threads=1) as model:
        first, second = model.squares(window), model.squares(window)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[names][0], second[names][0]) for names in first)


def test_a_model_that_overflows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from lqmf.quantization.gguf.imatrix import activations

    real = activations._dense
    monkeypatch.setattr(activations, "_dense", lambda x, w: (real(x, w)[0] * np.float32(np.inf), real(x, w)[1]))
    with Watched(demo_gguf(), threads=1) as model, pytest.raises(ModelError, match="not finite"):
        model.squares(some_windows(1, 64, 4096)[0])


# ---------------------------------------------------------------- when it is enough


def fed(rate: float, columns: int = 64, seed: int = 0) -> Callable[[], dict[tuple[str, ...], Any]]:
    """A window's sums whose columns vary by `rate` from window to window."""
    draw = np.random.default_rng(seed)
    true = draw.uniform(1, 3, columns)

    def window() -> dict[tuple[str, ...], Any]:
        sums = np.float32(true * draw.lognormal(0, rate, columns) * 512)[None]
        return {("blk.0.attn_q.weight", "blk.0.attn_k.weight"): (sums, np.float32([512]))}

    return window


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_estimated_error_is_the_true_one(rate: float) -> None:
    """Over many trials, half the total variation distance between the importance and the expected one."""
    estimated, true = [], []
    for seed in range(40):
        window, halves = fed(rate, seed=seed), Halves()
        for _ in range(32):
            halves.add(window())
        mean = next(iter(halves.total().values()))[0][0]
        aim = np.random.default_rng(seed).uniform(1, 3, 64)
        estimated.append(halves.error())
        true.append(np.abs(mean / mean.sum() - aim / aim.sum()).sum() / 2)
    assert np.mean(estimated) == pytest.approx(np.mean(true), rel=0.1)


def test_two_or_three_kinds_of_text_in_turn_go_to_both_halves() -> None:
    for kinds in (2, 3):
        halves, windows = Halves(), [fed(0, seed=seed)() for seed in range(kinds)]
        for i in range(24):
            halves.add({names: (sums.copy(), counts.copy()) for names, (sums, counts) in windows[i % kinds].items()})
        assert halves.error() < 1e-6


def test_an_expert_that_was_never_met_keeps_the_error_up() -> None:
    halves = Halves()
    for _ in range(8):
        halves.add({("blk.0.ffn_up_exps.weight",): (np.float32([[1, 2], [0, 0]]), np.float32([4, 0]))})
    assert halves.error() == pytest.approx(0.25)


class Steady:
    """Stands for a model only in how its windows vary, so that the stop can be seen apart from any model."""

    def __init__(self, rate: float) -> None:
        make = fed(rate)
        self.squares = lambda _window: make()


@pytest.mark.parametrize(("rate", "windows"), [(0.01, 8), (5.0, 40)])
def test_collecting_stops_when_it_has_settled_and_says_so(rate: float, windows: int) -> None:
    events: list[Event] = []
    settings = Settings(tokens=16, least=8, most=40, tolerance=0.02)
    made = collect.collect(Steady(rate), some_windows(60, 16, 99), events.append, settings=settings)  # type: ignore[arg-type]
    assert made.windows == windows
    assert made.converged == (windows == 8)
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == list(range(1, windows + 1))
    said = next(event.text for event in events if isinstance(event, Notice))
    assert ("has settled" in said) == made.converged


# ---------------------------------------------------------------- kept, and found again


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LQMF_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "imatrix"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"Line {i} says {i * i}.\n" for i in range(900)), encoding="utf-8")
    return path


SHORT = Settings(tokens=64, least=2, most=4)


def test_the_second_time_nothing_runs_and_all_is_the_same(
    cache: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = collect.importance_matrix(demo_gguf(), "demo", str(text), ignore, settings=SHORT, threads=1)
    monkeypatch.setattr(collect, "Watched", None)  # opening a model would now fail
    again = collect.importance_matrix(demo_gguf(), "demo", str(text), ignore, settings=SHORT, threads=1)
    assert (again[0], again[2]) == (first[0], first[2])
    assert first[0].parent == cache
    for name, entry in first[1].entries.items():
        assert np.array_equal(again[1].entries[name].sums, entry.sums)


def test_another_model_text_or_setting_is_collected_anew(cache: Path, text: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(text.read_text(encoding="utf-8") + ".", encoding="utf-8")
    for identity, read, settings in (
        ("demo", text, SHORT), ("demo2", text, SHORT), ("demo", other, SHORT), ("demo", text, Settings(64, 2, 3)),
    ):  # fmt: skip
        collect.importance_matrix(demo_gguf(), identity, str(read), ignore, settings=settings, threads=1)
    assert len(list(cache.glob("*.gguf"))) == 4


def test_a_damaged_kept_file_is_collected_again(cache: Path, text: Path) -> None:
    path, made, facts = collect.importance_matrix(demo_gguf(), "demo", str(text), ignore, settings=SHORT, threads=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-64] + bytes(64))
    again, _, told = collect.importance_matrix(demo_gguf(), "demo", str(text), ignore, settings=SHORT, threads=1)
    assert (again.read_bytes(), told) == (whole, facts)
    assert facts["windows"] == made.chunks == 4
    kept = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert {**kept, "settings": facts["settings"]} == facts


def test_a_given_matrix_is_used_as_it_is_and_another_models_is_refused(cache: Path, tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in collect.shapes(demo_gguf()).items() if len(shape) > 1 and "blk" in name}
    entries = {name: Entry(np.ones((1, shape[0]), np.float32), np.float32([1])) for name, shape in shapes.items()}
    given = tmp_path / "given.gguf"
    imatrix_file.write(Imatrix(entries, ("mine.txt",), 1, 1), given)
    path, found, facts = collect.importance_matrix(demo_gguf(), "demo", str(given), ignore)
    assert (path, set(found.entries), facts["text"], facts["windows"]) == (given, set(entries), "mine.txt", 1)
    assert not cache.exists()
    imatrix_file.write(Imatrix({"blk.0.attn_q.weight": Entry(np.ones((1, 8), np.float32), np.float32([1]))}), given)
    with pytest.raises(UsageError, match="another model"):
        collect.importance_matrix(demo_gguf(), "demo", str(given), ignore)
