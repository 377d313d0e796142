"""The llama.cpp engine says what the model says, and refuses what would abort the process."""

from __future__ import annotations

import json
import pkgutil
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from lqmf import engines
from lqmf.engines.llama.context import ContextOptions
from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.engines.promise import Sampling
from lqmf.engines.registry import open_artifact, open_engine
from lqmf.errors import (
    GpuOutOfMemory,
    IncompleteModel,
    ModelError,
    NotFound,
    OutOfMemory,
    UnsupportedModel,
    UsageError,
)
from lqmf.ggml import library
from tests.fixtures_gguf import DEMO, EVALUATION, demo_gguf
from tests.model_files.gguf_writer import BOOL, STRING, gguf, text
from tests.quantization import models
from tests.quantization.bases import make_base


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaCppEngine]:
    with LlamaCppEngine(demo_gguf("F16")) as opened:
        yield opened


def said(engine: LlamaCppEngine, prompt, **sampling) -> str:
    return "".join(piece.text for piece in engine.generate(prompt, Sampling(**sampling)))


def test_it_knows_the_model(engine):
    assert engine.name.startswith("llama.cpp 0.")
    assert (engine.vocabulary, engine.context_length, engine.device) == (4096, 2048, "cpu")


def test_tokens_are_those_of_the_models_own_tokenizer(engine):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    words = EVALUATION.read_text(encoding="utf-8")[:20_000] + " naïve 🚀 \t\n\n 12 \x00 end"
    assert engine.tokenize(words) == tokenizer.encode(words, add_special_tokens=False).ids
    assert engine.detokenize(engine.tokenize(words)) == words


def test_special_tokens_are_read_only_when_asked_for(engine):
    assert engine.tokenize("<|im_end|>", special=True) == [2]
    assert len(engine.tokenize("<|im_end|>")) > 1


def test_messages_go_through_the_template_in_the_file(engine):
    prompt = engine.render([{"role": "user", "content": "hi"}])
    assert prompt == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_greedy_text_is_the_argmax_of_the_logits(engine):
    tokens = engine.tokenize("A database is")
    drawn = [piece.token for piece in engine.generate(tokens, Sampling(max_tokens=12)) if piece.token is not None]
    (logits,) = engine.logits([[*tokens, *drawn]], first=len(tokens) - 1)
    assert logits[:-1].argmax(axis=-1).tolist() == drawn


def test_windows_are_independent_and_first_only_cuts(engine):
    window = engine.tokenize(EVALUATION.read_text(encoding="utf-8")[:4000])[:300]
    alone, again = engine.logits([window, window])
    (tail,) = engine.logits([window], first=200)
    np.testing.assert_array_equal(alone, again)
    np.testing.assert_array_equal(alone[200:], tail)


def test_a_window_longer_than_a_batch_gives_the_same_logits():
    window = list(range(100, 400))
    with LlamaCppEngine(demo_gguf("F16")) as whole, LlamaCppEngine(demo_gguf("F16"), batch=64) as parts:
        (a,), (b,) = whole.logits([window]), parts.logits([window])
        (c,) = parts.logits([window], first=130)
    np.testing.assert_allclose(a, b, atol=2e-2)
    np.testing.assert_array_equal(b[130:], c)


def test_a_longer_window_after_a_shorter_one_is_no_trouble(engine):
    shapes = [rows.shape[0] for rows in engine.logits([[5] * n for n in (3, 900, 40, 2048)])]
    assert shapes == [3, 900, 40, 2048]


def test_a_quantized_cache_changes_little():
    window = list(range(200, 328))
    with (
        LlamaCppEngine(demo_gguf("F16")) as plain,
        LlamaCppEngine(demo_gguf("F16"), k_type="q8_0", v_type="q4_0") as small,
    ):
        (a,), (b,) = plain.logits([window]), small.logits([window])
    assert 0 < np.abs(a - b).max() < 1.0


def test_generation_ends_when_the_context_is_full():
    with LlamaCppEngine(demo_gguf("Q4_K_M"), context=64) as small:
        tokens = [
            piece.token for piece in small.generate([7] * 60, Sampling(max_tokens=500)) if piece.token is not None
        ]
        assert 1 <= len(tokens) <= 5
        assert len(list(small.generate([7] * 64, Sampling(max_tokens=500)))) <= 2


def test_the_end_token_ends_generation(engine):
    assert engine.ends(2)
    assert not engine.ends(100)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"context": 5000}, "2048 tokens"),
        ({"context": -1}, "2048 tokens"),
        ({"v_type": "q3"}, "no KV type"),
        ({"device": "gpu"}, "CPU build"),
    ],
)
def test_an_option_that_cannot_be_is_a_usage_error(options, says):
    with pytest.raises(UsageError, match=says):
        LlamaCppEngine(demo_gguf("Q4_K_M"), **options)


def test_a_prompt_longer_than_the_context_is_a_usage_error(engine):
    with pytest.raises(UsageError, match="2049 tokens"):
        engine.generate([7] * 2049, Sampling())
    with pytest.raises(UsageError, match="does not fit"):
        list(engine.logits([[7] * 2049]))


@pytest.mark.parametrize("token", [-1, 4096, 1 << 40])
def test_a_token_outside_the_vocabulary_is_a_usage_error(engine, token):
    with pytest.raises(UsageError, match="vocabulary"):
        engine.generate([1, token], Sampling())
    with pytest.raises(UsageError, match="vocabulary"):
        list(engine.logits([[1, token]]))
    with pytest.raises(UsageError, match="vocabulary"):
        engine.detokenize([token])


def test_a_closed_engine_refuses_instead_of_crashing():
    engine = LlamaCppEngine(demo_gguf("Q4_K_M"))
    engine.close()
    for use in (
        lambda: engine.tokenize("x"),
        lambda: engine.detokenize([1]),
        lambda: engine.render([]),
        lambda: list(engine.generate([1], Sampling())),
        lambda: list(engine.logits([[1]])),
    ):
        with pytest.raises(UsageError, match="closed"):
            use()


# ---------------------------------------------------------------- models that begin texts with a token


@pytest.fixture(scope="module")
def beginning(tmp_path_factory) -> Iterator[LlamaCppEngine]:
    """The demo model, its file saying that texts begin with token 0 and that its template writes it out."""
    path = tmp_path_factory.mktemp("bos") / "bos.gguf"
    path.write_bytes(with_key(demo_gguf("Q4_K_M").read_bytes(), "tokenizer.ggml.add_bos_token"))
    with LlamaCppEngine(path) as opened:
        yield opened


def with_key(data: bytes, key: str) -> bytes:
    """The file with a true key more, and a filler after it that keeps the data aligned."""
    added = text(key) + struct.pack("<IB", BOOL, 1) + text("x") + struct.pack("<I", STRING)
    added += text(" " * (-(len(added) + 8) % 32))
    counts = struct.pack("<Q", struct.unpack_from("<Q", data, 16)[0] + 2)
    return data[:16] + counts + added + data[24:]


def test_the_beginning_is_put_first_only_when_asked_for(beginning, engine):
    assert beginning.tokenize("hello", bos=True) == [0, *beginning.tokenize("hello")]
    assert engine.tokenize("hello", bos=True) == engine.tokenize("hello")


def test_a_prompt_begins_once_also_when_it_writes_the_beginning_out(beginning):
    plain, written = said(beginning, "Hello", max_tokens=8), said(beginning, "<|endoftext|>Hello", max_tokens=8)
    assert plain == written


def test_a_sentencepiece_model_gives_back_its_text_and_begins_with_its_token(tmp_path):
    """Its tokenizer puts a space before every text, which is no part of the text."""
    source = models.build(models.FAMILIES["llama"], tmp_path / "model")
    path = make_base(source, tmp_path, lambda event: None, name="spm").path
    with LlamaCppEngine(path) as spm:
        for words in ("Hello world, naïve 🚀 ... end", " two  spaces ", "\n"):
            assert spm.detokenize(spm.tokenize(words)) == words
        assert spm.tokenize("", bos=True) == [1]
        streamed = "".join(p.text for p in spm.generate("Hello", Sampling(max_tokens=9, temperature=1.0, seed=4)))
        assert streamed


# ---------------------------------------------------------------- files


def test_what_is_not_there_is_not_found(tmp_path):
    for path in (tmp_path / "no.gguf", tmp_path / "no-folder"):
        with pytest.raises(NotFound):
            open_engine(path)


def test_a_cut_file_is_incomplete(tmp_path):
    short = tmp_path / "short.gguf"
    short.write_bytes(demo_gguf("Q4_K_M").read_bytes()[:-5000])
    with pytest.raises(IncompleteModel, match="missing"):
        open_engine(short)


def test_a_file_that_is_no_model_says_why(tmp_path):
    strange = tmp_path / "strange.gguf"
    strange.write_bytes(gguf({"general.architecture": "nonesuch"}))
    with pytest.raises(UnsupportedModel, match="nonesuch"):
        open_engine(strange)
    strange.write_bytes(gguf({"general.architecture": "llama"}))
    with pytest.raises(ModelError, match="could not load"):
        open_engine(strange)


def test_a_folder_is_opened_by_its_one_gguf_file(tmp_path):
    (tmp_path / "a.gguf").symlink_to(demo_gguf("Q4_K_M"))
    (tmp_path / "mmproj-a.gguf").write_bytes(b"GGUF")
    with open_engine(tmp_path) as opened:
        assert opened.vocabulary == 4096
    (tmp_path / "b.gguf").symlink_to(demo_gguf("Q4_K_M"))
    with pytest.raises(UsageError, match="several"):
        open_engine(tmp_path)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 99", OutOfMemory),
        ("ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9 MiB on device 0: cudaMalloc failed", GpuOutOfMemory),
        ("error loading model: unknown model architecture: 'x'", UnsupportedModel),
        ("error loading model: missing tensor 'output_norm.weight'", ModelError),
    ],
)
def test_what_the_library_says_becomes_an_error_of_its_kind(line, error):
    library._said.clear()
    library._said.append(line)
    found = library.refusal("load x")
    assert type(found) is error
    assert line in found.message
    assert found.remedy


def test_the_library_prints_nothing(capfd):
    with LlamaCppEngine(demo_gguf("Q4_K_M")) as quiet:
        said(quiet, "Hello", max_tokens=2)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("limit", "cores"), [("150000 100000", 1), ("400000 100000", 4), ("max 100000", 1024), ("", 1024)]
)
def test_a_containers_share_of_the_processor_is_read(tmp_path, limit, cores):
    (tmp_path / "cpu.max").write_text(limit)
    assert library._quota(tmp_path / "cpu.max") == cores


def test_the_environment_has_the_last_word_on_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert library.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert library.threads() >= 1


def test_importing_the_engines_loads_no_heavy_library():
    heavy = ["torch", "transformers", "llama_cpp", "numpy", "huggingface_hub", "jinja2"]
    names = [found.name for found in pkgutil.walk_packages(engines.__path__, "lqmf.engines.")] + [library.__name__]
    loads = f"[importlib.import_module(name) for name in {names}]"
    code = f"import sys, importlib; {loads}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_artifact_is_opened_as_its_manifest_says_it_is_to_be_run(tmp_path):
    shutil.copy(demo_gguf("Q4_K_M"), tmp_path / "model.gguf")
    run = {"context": 768, "k_type": "q8_0", "v_type": "q4_0", "ubatch": 128, "gpu_layers": 9}
    (tmp_path / "manifest.json").write_text(json.dumps({"run": run}))
    with open_artifact(tmp_path, device="cpu") as opened:
        assert opened.context_length == 768
        assert opened._options == ContextOptions(128, opened._options.threads, "q8_0", "q4_0", gpu=False)
    with open_artifact(tmp_path, device="cpu", context=512) as opened:
        assert opened.context_length == 512
