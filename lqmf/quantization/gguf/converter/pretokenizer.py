"""The search for the pre-tokenizer of llama.cpp that splits text as a given tokenizer does: matched by behaviour, and
proven.

The converter knows BPE pre-tokenizers by a hash over one vocabulary, so it does not recognize a home-trained one. Here
a few thousand varied lines go through both the tokenizer and libllama, once per candidate name, until one candidate
gives the same ids for every line. Runs in the converter's process; knows nothing of models or weights.
"""

from __future__ import annotations

import ctypes
import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lqmf import workspace
from lqmf.errors import UnsupportedModel
from lqmf.ggml import library
from lqmf.quantization.gguf.converter.probe_lines import decomposed, sample_lines

_SPECIAL_LINES = 150  # lines whose first and last tokens are compared too
_OTHERWISE = "Choose another model, or quantize this one with another method."
_SPECIAL_TRIES = 12  # candidates tried for the same first and last token too

# Hugging Face patterns of the commonest families and llama.cpp's name for each: they only order the candidates.
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_KNOWN: tuple[tuple[str, str], ...] = (
    ("gpt-2", _GPT2),
    ("starcoder", "Digits " + _GPT2),
    ("llama-bpe", _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _TAIL),
    ("dbrx", _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _TAIL),
    ("qwen2", _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _TAIL),
    ("qwen35", _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + _TAIL),
    ("gpt-4o", r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _CONTRACTIONS),
    ("tekken", r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|\p{N}|" + _TAIL),
    ("deepseek-v3", r"\p{N}{1,3} [!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|" + _TAIL),
    ("falcon", "Punctuation ByteLevel Digits " + _GPT2 + " [0-9][0-9][0-9]"),
)


@dataclass(frozen=True)
class Match:
    """A pre-tokenizer of llama.cpp: `name` gives the tokenizer's ids on all `lines` lines; `specials_agree` if the
    special tokens around a text are the same too."""

    name: str
    lines: int
    specials_agree: bool


def match(tokenizer: Any, vocab_file: Path, names: Sequence[str], text: Path, memory: Path) -> Match:
    """Return the first of `names`, likeliest first, with which libllama tokenizes as `tokenizer` does, if possible with
    the same special tokens around a text; keep it in the folder `memory`.

    `vocab_file` is a vocabulary-only GGUF of this tokenizer, `text` a file with ordinary text. Raises UnsupportedModel
    naming the first line that differs.
    """
    found = _search(tokenizer, vocab_file, order(names, pattern_of(tokenizer)), list(sample_lines(text)))
    workspace.keep_json(_place(tokenizer, memory), asdict(found))
    return found


@dataclass(frozen=True)
class Differences:
    """How many lines libllama reads as other tokens than the model's own tokenizer: of `lines` varied ones, of
    `ordinary` lines of text among them, of `decomposed` ones, whose letters and accents are apart. `example` is the
    shortest line."""

    lines: int
    ordinary: int
    decomposed: int
    differ: int
    ordinary_differ: int
    decomposed_differ: int
    example: str = ""


def compare(tokenizer: Any, pieces: Path, vocab_file: Path, text: Path) -> Differences:
    """Compare the tokenizer of the GGUF `vocab_file` with `tokenizer`, which it was made from, on varied lines and on
    those of the file `text`. A line may be read as SentencePiece itself reads it with the model `pieces`, where there
    is one: transformers 5 reads text that begins with a space otherwise. Raises UnsupportedModel where libllama cannot
    read the file."""
    lines = list(sample_lines(text))
    apart, ordinary = list(decomposed(lines)), set(text.read_text(encoding="utf-8").splitlines())
    with vocabulary(vocab_file) as vocab:
        if vocab is None:
            raise UnsupportedModel("llama.cpp cannot read the tokenizer that its converter wrote.", _OTHERWISE)
        differ, apart_differ = (
            list(_differing(vocab, each, _ids(tokenizer, each, specials=False))) for each in (lines, apart)
        )
        if pieces.is_file():
            own = _sentencepiece(pieces)
            differ, apart_differ = (list(_differing(vocab, each, own(each))) for each in (differ, apart_differ))
    return Differences(
        len(lines),
        sum(line in ordinary for line in lines),
        len(apart),
        len(differ),
        sum(line in ordinary for line in differ),
        len(apart_differ),
        min(differ, key=len, default=""),
    )


def _sentencepiece(pieces: Path) -> Callable[[Sequence[str]], list[list[int]]]:
    from sentencepiece import SentencePieceProcessor

    own = SentencePieceProcessor()
    own.LoadFromFile(str(pieces))
    return lambda lines: [list(own.EncodeAsIds(line)) for line in lines]


def recall(tokenizer: Any, memory: Path) -> Match | None:
    """Return the match that `match` found for this very tokenizer before; None if there is none, or its file is
    spoilt."""
    try:
        return Match(**workspace.kept_json(_place(tokenizer, memory)))
    except TypeError:
        return None


def _place(tokenizer: Any, memory: Path) -> Path:
    return memory / f"{fingerprint(tokenizer)}.json"


def fingerprint(tokenizer: Any) -> str:
    """Return a hash, in hexadecimal, of everything that decides the tokenizer's ids."""
    return hashlib.sha256(_serialized(tokenizer).encode()).hexdigest()[:32]


def pattern_of(tokenizer: Any) -> str:
    """Return the tokenizer's pre-tokenizing steps as one string: their regular expressions, and the names of the other
    steps."""
    steps = json.loads(_serialized(tokenizer)).get("pre_tokenizer") or {}
    return " ".join(_describe(step) for step in steps.get("pretokenizers", [steps]) if step)


def order(names: Iterable[str], pattern: str) -> list[str]:
    """Return `names` in the order to try them: those whose known pattern is most like `pattern` first, unknown names
    last."""
    known = dict(_KNOWN)

    def likeness(name: str) -> float:
        return difflib.SequenceMatcher(None, known[name], pattern).ratio() if name in known else -1.0

    return sorted(names, key=likeness, reverse=True)


def _describe(step: dict[str, Any]) -> str:
    if step["type"] == "ByteLevel":
        return _GPT2 if step.get("use_regex", True) else ""
    pattern = step.get("pattern") or {}
    return str(pattern.get("Regex") or pattern.get("String") or step["type"])


def _serialized(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return str(backend.to_str())
    return json.dumps({"class": type(tokenizer).__name__, "vocab": tokenizer.get_vocab()}, sort_keys=True)


def _search(tokenizer: Any, vocab_file: Path, names: Sequence[str], lines: Sequence[str]) -> Match:
    plain = _ids(tokenizer, lines, specials=False)
    special = _ids(tokenizer, lines[:_SPECIAL_LINES], specials=True)
    without_specials: Match | None = None
    first_difference = ""
    for tried, name in enumerate(names):
        if without_specials and tried >= _SPECIAL_TRIES:
            break
        with vocabulary(vocab_file, name) as vocab:
            if vocab is None:
                continue
            difference = _first_difference(vocab, lines, plain)
            if difference is not None:
                first_difference = first_difference or f"with '{name}': {difference[:80]!r}"
                continue
            agrees = _first_difference(vocab, lines[:_SPECIAL_LINES], special, specials=True) is None
        if agrees:
            return Match(name, len(lines), True)
        without_specials = without_specials or Match(name, len(lines), False)
    if without_specials is None:
        raise UnsupportedModel(
            "llama.cpp has no pre-tokenizer that splits text as this model's tokenizer does; "
            f"{len(names)} were tried, and the first line that differs ({first_difference}).",
            _OTHERWISE,
        )
    return without_specials


def _ids(tokenizer: Any, lines: Sequence[str], *, specials: bool) -> list[list[int]]:
    return [list(ids) for ids in tokenizer(list(lines), add_special_tokens=specials)["input_ids"]]


def _first_difference(
    vocab: Any, lines: Sequence[str], expected: Sequence[list[int]], *, specials: bool = False
) -> str | None:
    return next(_differing(vocab, lines, expected, specials=specials), None)


def _differing(
    vocab: Any, lines: Sequence[str], expected: Sequence[list[int]], *, specials: bool = False
) -> Iterator[str]:
    """Yield the lines that `vocab` reads as other tokens than `expected`."""
    for line, ids in zip(lines, expected, strict=True):
        if tokenize(vocab, line, specials=specials) != ids:
            yield line


@contextmanager
def vocabulary(vocab_file: Path, pre: str | None = None) -> Iterator[Any]:
    """Yield libllama's vocabulary of `vocab_file`, with `pre` in place of its own pre-tokenizer; None if libllama
    refuses."""
    from llama_cpp import llama_cpp as lib

    overrides = (lib.llama_model_kv_override * 2)()
    parameters = lib.llama_model_default_params()
    parameters.vocab_only = True
    if pre is not None:
        overrides[0].tag = lib.LLAMA_KV_OVERRIDE_TYPE_STR
        overrides[0].key = b"tokenizer.ggml.pre"
        overrides[0].value.val_str = pre.encode()
        parameters.kv_overrides = ctypes.cast(overrides, type(parameters.kv_overrides))
    model = lib.llama_model_load_from_file(str(vocab_file).encode(), parameters)
    if not model:
        yield None
        return
    try:
        yield lib.llama_model_get_vocab(model)
    finally:
        lib.llama_model_free(model)


def tokenize(vocab: Any, line: str, *, specials: bool = False) -> list[int]:
    """Return libllama's token ids of `line`; with `specials`, those of the special tokens around a text too."""
    from llama_cpp import llama_cpp as lib

    return library.tokens(lib, vocab, line, frame=specials, special=False)
