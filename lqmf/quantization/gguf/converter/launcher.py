"""The process that loads llama.cpp's official converter, unedited, and whose forks run it with additions.

The forks run no code that comes with a model (the converter itself would ask for that), name BPE pre-tokenizers that
the converter does not recognize once they are proven, and hand the weights to `stream.child`, or leave them out. Where
the converter and the installed transformers disagree about a configuration's keys, they reconcile them. `lqmf.forks`
starts the process and takes its requests. Knows nothing about jobs or plans: `convert.py` and `stream/pipeline.py` ask
it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import runpy
import socket
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lqmf import forks, workspace
from lqmf.child_process import Send
from lqmf.errors import (
    FULL,
    DiskFull,
    IncompleteModel,
    LqmfError,
    OutOfMemory,
    UnsupportedModel,
)
from lqmf.model_files.gguf_header import LongArray, read_header
from lqmf.quantization.gguf.converter import compat, guard, header, ignored, pretokenizer
from lqmf.quantization.gguf.stream import child as stream_child
from lqmf.quantization.gguf.stream import job

_FEW_DIFFER = 0.02  # of the lines of ordinary text, that llama.cpp may read as other tokens
_COMPARED = 1  # the form of what is kept of a comparison, and of the mends that the written tokenizer has
_ATTENTION = ("attn_factor", "yarn_log_multiplier")  # keys by which some architectures say how attention is scaled


@dataclass(frozen=True)
class Request:
    """A request to convert a model, as `convert.py` sends it. Paths are strings."""

    toolchain: str
    model: str
    outfile: str
    outtype: str
    scratch: str
    text: str  # ordinary text, to prove a pre-tokenizer with
    memory: str  # where proven pre-tokenizers are kept
    model_name: str | None = None
    allow_remote_code: bool = False
    has_tokenizer: bool = True
    prediction_layers: bool = True  # False: the layers that config.json says predict further tokens are not there
    stream: str | None = None  # a file that says what to make: see `stream.job.Job`; None: `outfile`, without weights


@dataclass(frozen=True)
class Loaded:
    """The converter's `conversion.base`, and the guard that keeps transformers from running a model's code."""

    base: Any
    remote_code: guard.RemoteCode


def main() -> None:
    """Load the converter, and answer requests with it. Arguments: the converter's folder, and the descriptor of the
    socket to listen at."""
    root, descriptor = sys.argv[1:]
    listener = socket.socket(fileno=int(descriptor))
    sys.path[:0] = [root, str(Path(root) / "gguf-py")]
    loaded: Loaded | BaseException
    try:
        with forks.while_owned():
            loaded = _load()
    except BaseException as error:  # noqa: BLE001  (whoever asks is told)
        loaded = error
    forks.serve(listener, functools.partial(answer, loaded))


def answer(loaded: Loaded | BaseException, asked: Mapping[str, Any], send: Send) -> int:
    """Convert the model that `asked` describes, and send an error as a JSON line. Return the exit code: 0 done, 1
    failed."""
    try:
        if isinstance(loaded, BaseException):
            raise loaded
        _convert(loaded, Request(**asked), send)
    except LqmfError as error:
        send({"error": error.to_json()})
    except BaseException as error:  # noqa: BLE001  (the top of a process: whatever the converter raises)
        sys.excepthook(type(error), error, error.__traceback__)
        send({"error": translate(error).to_json()})
    else:
        return 0
    return 1


def _load() -> Loaded:
    """Load all that a conversion needs, guarded before anything of it can be used."""
    remote_code = guard.remote_code()
    _leave_activations_out()
    from conversion import base  # type: ignore[import-not-found]
    from transformers.models.auto import tokenization_auto  # noqa: F401  (the converter loads it for most tokenizers)

    guard.pickles()
    return Loaded(base, remote_code)


def _leave_activations_out() -> None:
    """Keep every configuration from importing torch's compiler and its distributed tensors (3 CPU seconds).

    transformers reads no more from them than the names of activations, which it checks where torch is there. Its module
    that checks is loaded as it is where torch is not there.
    """
    from transformers import tokenization_utils_base, video_utils  # noqa: F401  (that module's own imports)
    from transformers.utils import import_utils

    available = import_utils.is_torch_available
    import_utils.is_torch_available = lambda: False
    try:
        importlib.import_module("transformers.utils.type_validators")
    finally:
        import_utils.is_torch_available = available


def _convert(loaded: Loaded, request: Request, send: Send) -> None:
    if request.allow_remote_code:
        loaded.remote_code.allow(Path.cwd() / "modules")
    base = loaded.base
    base.TextModel.get_vocab_base_pre = _with_proven_names(base, request, send)
    if not request.prediction_layers:
        base.ModelBase.no_mtp = True
        send({"prediction_layers": False})
    _reconcile(base, prediction_layers=request.prediction_layers)
    _mend_tokenizers(base.gguf)
    if request.stream:
        stream_child.take_over(base, job.Job.read(Path(request.stream)), send)
    else:
        _leave_weights_out(base, request, send)
    _explain_surplus_tokens(base)
    script = str(Path(request.toolchain) / "convert_hf_to_gguf.py")
    sys.argv = [script, request.model, "--outfile", request.outfile, "--outtype", request.outtype]
    sys.argv += ["--model-name", request.model_name] if request.model_name else []
    runpy.run_path(script, run_name="__main__")
    if not request.stream:
        _compare_tokens(request, send)


# ---------------------------------------------------------------- what the converter does not know


def _with_proven_names(base: Any, request: Request, send: Send) -> Callable[[Any, Any], str]:
    """Return a `get_vocab_base_pre` that finds a pre-tokenizer's name by its behaviour where the converter's own knows
    none."""
    official = base.TextModel.get_vocab_base_pre

    def named(model: Any, tokenizer: Any) -> str:
        try:
            return str(official(model, tokenizer))
        except NotImplementedError:
            remembered = pretokenizer.recall(tokenizer, Path(request.memory))
            found = remembered or _prove(base, model, tokenizer, request)
            send({"pretokenizer": found.name, "lines": found.lines, "specials_agree": found.specials_agree})
            return found.name

    return named


def _prove(base: Any, model: Any, tokenizer: Any, request: Request) -> pretokenizer.Match:
    from lqmf.quantization.gguf.converter.toolchain import Toolchain

    names = Toolchain(Path(request.toolchain), "", "").pretokenizers()
    file = Path(request.scratch) / "vocabulary.gguf"
    current = base.TextModel.get_vocab_base_pre
    base.TextModel.get_vocab_base_pre = lambda _model, _tokenizer: "default"
    try:
        type(model)(model.dir_model, model.ftype, file).write_vocab()
    finally:
        base.TextModel.get_vocab_base_pre = current
    try:
        return pretokenizer.match(tokenizer, file, names, Path(request.text), Path(request.memory))
    finally:
        file.unlink(missing_ok=True)


def _reconcile(base: Any, *, prediction_layers: bool = True) -> None:
    """Give the converter the configuration keys it looks for, state what it leaves out and libllama reads (a rope base,
    a YaRN's scale of attention, which layers have windows, further end tokens), and take into the weights what libllama
    leaves out of the computation."""
    load, prepare = base.ModelBase.load_hparams, base.TextModel.prepare_metadata

    def completed(*args: Any, **kwargs: Any) -> dict[str, Any]:
        config = compat.completed(load(*args, **kwargs))
        return config if prediction_layers else compat.without_prediction_layers(config)

    def stated(model: Any, *args: Any, **kwargs: Any) -> None:
        prepare(model, *args, **kwargs)
        key = f"{model.gguf_writer.arch}.rope.freq_base"
        said = {name for values in model.gguf_writer.kv_data for name in values}
        rope_base, factor = compat.unsaid_rope_base(model.hparams), ignored.attention_factor(model.hparams)
        if rope_base is not None and key not in said:
            model.gguf_writer.add_rope_freq_base(rope_base)
        _state_ends(model, said)
        windows = compat.unsaid_windows(model.gguf_writer.arch, model.hparams)
        if windows is not None and f"{model.gguf_writer.arch}.attention.sliding_window_pattern" not in said:
            model.gguf_writer.add_sliding_window_pattern(windows)
        if factor is not None and not said & {f"{model.gguf_writer.arch}.rope.scaling.{name}" for name in _ATTENTION}:
            model.gguf_writer.add_rope_scaling_attn_factors(factor)

    mapped = base.ModelBase.modify_tensors

    def scaled(model: Any, data_torch: Any, name: str, bid: int | None) -> Any:
        if name == compat.LAST_NORM and (scale := compat.unsaid_scale(model.hparams)) is not None:
            data_torch = data_torch * scale
        return mapped(model, _uncut(model, data_torch, name), name, bid)

    base.ModelBase.modify_tensors = scaled
    base.ModelBase.load_hparams = staticmethod(completed)
    base.TextModel.prepare_metadata = stated


def _uncut(model: Any, tensor: Any, name: str) -> Any:
    """Return the tensor called `name`, with all rows of an embedding: Gemma 3's converter cuts off rows whose tokens it
    lists all the same. What another converter renamed or padded stays as it made it."""
    read = model.model_tensors.get(name) if name.endswith(compat.EMBEDDING) else None
    whole = read() if read is not None else tensor
    return whole.to(tensor.dtype) if whole.shape[0] > tensor.shape[0] else tensor


def _state_ends(model: Any, said: Collection[str]) -> None:
    """Say which further tokens end an answer, as far as there are keys for them: libllama knows one end by the file,
    and others by names that are usual."""
    values = {name: each.value for kept in model.gguf_writer.kv_data for name, each in kept.items()}
    words, file = values.get("tokenizer.ggml.tokens") or [], Path(model.dir_model) / "generation_config.json"
    generation = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    ends = compat.further_ends(
        (model.hparams.get("eos_token_id"), generation.get("eos_token_id")),
        values.get("tokenizer.ggml.eos_token_id"),
        words,
    )
    keys = {"tokenizer.ggml.eot_token_id": "add_eot_token_id", "tokenizer.ggml.eom_token_id": "add_eom_token_id"}
    free = [add for key, add in keys.items() if key not in said]
    for add, end in zip(free, ends, strict=False):
        getattr(model.gguf_writer, add)(end)


# ---------------------------------------------------------------- tokenizers


def _mend_tokenizers(gguf: Any) -> None:
    """Take the template of chat_template.jinja, as transformers does, before that of tokenizer_config.json; and give
    tokens that are read from tokenizer.json alone the scores that their merges imply, where the converter has none."""
    load = gguf.SpecialVocab._load

    def loaded(vocab: Any, folder: Path) -> None:
        load(vocab, folder)
        if (file := folder / "chat_template.jinja").is_file():
            more = sorted((folder / "additional_chat_templates").glob("*.jinja"))
            named = [{"name": each.stem, "template": each.read_text(encoding="utf-8")} for each in more]
            main = file.read_text(encoding="utf-8")
            vocab.chat_template = [{"name": "default", "template": main}, *named] if named else main

    @functools.cache
    def scores(file: Path) -> dict[int, float]:
        model = json.loads(file.read_text(encoding="utf-8"))["model"]
        return compat.merge_scores(model["vocab"], model["merges"])

    gguf.SpecialVocab._load = loaded
    official = gguf.LlamaHfVocab.get_token_score
    gguf.LlamaHfVocab.get_token_score = lambda vocab, token: scores(vocab.fname_tokenizer).get(
        token, official(vocab, token) * len(scores(vocab.fname_tokenizer))
    )


def _explain_surplus_tokens(base: Any) -> None:
    """Name the tokens that the model has no rows for, where the converter gives up with an assertion."""
    prepare = base.TextModel.prepare_metadata

    def prepared(model: Any, *args: Any, **kwargs: Any) -> None:
        model.set_vocab = functools.partial(_vocabulary, model, model.set_vocab)
        prepare(model, *args, **kwargs)

    base.TextModel.prepare_metadata = prepared


def _vocabulary(model: Any, set_vocab: Callable[[], None]) -> None:
    try:
        set_vocab()
    except AssertionError as error:
        from transformers import AutoTokenizer

        rows = model.find_hparam(["vocab_size"], optional=True)
        words = AutoTokenizer.from_pretrained(model.dir_model, local_files_only=True).get_vocab()
        beyond = sorted((token, word) for word, token in words.items() if rows and token >= rows)
        if not beyond:
            raise
        some = ", ".join(f"{word!r} ({token})" for token, word in beyond[:3])
        raise UnsupportedModel(
            f"The tokenizer has {len(words):,} tokens, the model's embedding {rows:,} rows: {some}"
            f"{' and others' if len(beyond) > 3 else ''} {'has' if len(beyond) == 1 else 'have'} none.",
            "Take the tokenizer that belongs to these weights, or enlarge the embedding "
            "(`model.resize_token_embeddings(len(tokenizer))`) and save the model again.",
        ) from error


def _compare_tokens(request: Request, send: Send) -> None:
    """Compare the written tokenizer with the model's own, and send how many lines differ. Raises UnsupportedModel where
    ordinary text is read as other tokens."""
    from transformers import AutoTokenizer

    written = Path(request.outfile)
    metadata = read_header(written).metadata
    if metadata.get("tokenizer.ggml.model") == "none":
        return
    try:
        tokenizer = AutoTokenizer.from_pretrained(request.model, local_files_only=True)
    except Exception:  # noqa: BLE001  (tokenizer libraries raise anything)
        return  # the converter reads it, transformers does not: there is nothing to compare with
    pieces = Path(request.model) / "tokenizer.model"
    about = _about_tokens(metadata, pieces)
    kept = Path(request.memory) / f"tokens-{pretokenizer.fingerprint(tokenizer)}-{about}.json"
    try:
        found = pretokenizer.Differences(**workspace.kept_json(kept))
    except TypeError:
        with header.Kept(written, ()).extended() as file:
            found = pretokenizer.compare(tokenizer, pieces, file, Path(request.text))
        workspace.keep_json(kept, asdict(found))
    if found.ordinary_differ > _FEW_DIFFER * found.ordinary:
        raise UnsupportedModel(
            f"llama.cpp would read text as other tokens than the model does: {found.ordinary_differ:,} of "
            f"{found.ordinary:,} lines of ordinary text, and lines such as {found.example!r}.",
            "`--method bnb` keeps the model's own tokenizer; or put its tokenizer.model into the folder.",
        )
    send({"differences": asdict(found)})


def _about_tokens(metadata: Mapping[str, Any], sentencepiece: Path) -> str:
    """Return a hash of what decides a written tokenizer besides the model's own: the short facts of its header, and the
    file `sentencepiece`, where there is one."""
    said = [(key, value) for key, value in metadata.items() if key.startswith("tokenizer.ggml.")]
    short = [(key, value) for key, value in said if not isinstance(value, LongArray)]
    pieces = sentencepiece.read_bytes() if sentencepiece.is_file() else b""
    return hashlib.sha256(repr((_COMPARED, sorted(short))).encode() + pieces).hexdigest()[:16]


# ---------------------------------------------------------------- the header alone


def _leave_weights_out(base: Any, request: Request, send: Send) -> None:
    """Write keys and tensors' shapes, no weight; tensors stay as lazy as the converter makes them."""
    prepare = base.TextModel.prepare_metadata

    def prepared(model: Any, *args: Any, **kwargs: Any) -> None:
        set_vocab = model.set_vocab if request.has_tokenizer else _no_tokenizer
        model.set_vocab = functools.partial(_vocabulary_or_none, model, set_vocab, send)
        prepare(model, *args, **kwargs)

    base.TextModel.prepare_metadata = prepared
    base.gguf.GGUFWriter.write_tensors_to_file = lambda writer, progress=False: writer.write_ti_data_to_file()


def _no_tokenizer() -> None:
    """Raise IncompleteModel, because transformers would make up an empty tokenizer."""
    raise IncompleteModel("its files are missing.")


def _vocabulary_or_none(model: Any, set_vocab: Callable[[], None], send: Send) -> None:
    """Write the model's own tokenizer, or only the size of its vocabulary where that fails for whatever reason."""
    try:
        set_vocab()
    except (Exception, SystemExit) as error:  # tokenizer libraries raise anything
        size = model.find_hparam(["vocab_size", "n_vocab", "padded_vocab_size"], optional=True)
        if size is None:
            raise
        known = error if isinstance(error, LqmfError) else translate(error)
        send({"no_tokenizer": known.message})
        for values in model.gguf_writer.kv_data:
            for key in [key for key in values if key.startswith("tokenizer.")]:
                del values[key]
        model.gguf_writer.add_tokenizer_model("none")
        model.gguf_writer.add_vocab_size(size)


# ---------------------------------------------------------------- what the parent is told


def translate(error: BaseException) -> LqmfError:
    """Return an exception of the converter as one of our errors, by its type and message."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, MemoryError):
        return OutOfMemory("Converting the model to GGUF ran out of memory.", "Close other programs and try again.")
    if isinstance(error, OSError) and error.errno in FULL:
        return DiskFull(
            "The disk filled up while the model was converted to GGUF.", "Run `lqmf disk` to see what to free."
        )
    if isinstance(error, SystemExit | NotImplementedError):
        return UnsupportedModel(f"llama.cpp's converter does not know this model: {reason}", "Choose another model.")
    if isinstance(error, FileNotFoundError) and reason.endswith(("tokenizer.model", "spiece.model", "tokenizer.json")):
        name = Path(reason).name
        return IncompleteModel(
            f"llama.cpp's converter wants {name} for this architecture; copy it from the model that it was made from.",
            f"Copy {name} into the folder.",
        )
    if isinstance(error, FileNotFoundError) or "Missing" in reason:
        return IncompleteModel(f"The model is incomplete: {reason}", "Download it again.")
    return UnsupportedModel(
        f"llama.cpp's converter could not convert this model: {type(error).__name__}: {reason}",
        "Try another method or another model; the log of a job has the converter's own words.",
    )


if __name__ == "__main__":
    main()
    os._exit(0)  # torch takes over a second to take itself apart
