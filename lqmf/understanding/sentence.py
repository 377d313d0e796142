"""One line by itself: its rule, its values, the names in it. Knows no earlier lines."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from lqmf.understanding.bundled import with_bundled
from lqmf.understanding.courtesy import head, without_denied
from lqmf.understanding.intents import classify
from lqmf.understanding.models import MARK, Entity
from lqmf.understanding.patterns import Pattern, words
from lqmf.understanding.rules import Rule
from lqmf.understanding.slots import NO_TEST, Slots, calibration, extract, from_flags, revise
from lqmf.understanding.wording import Wording, read


@dataclass(frozen=True)
class Sentence:
    """One line by itself: its rule, the values that it says (`said`), and the models and artifacts that it names."""

    wording: Wording
    plain: str
    rule: Rule | None
    said: Slots
    models: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def front(self) -> str:
        """Return the sentence without its courtesies."""
        return head(self.plain)


CORRECTS = Pattern(
    r"(?:(?<![,.;:!-])[,.;:!-]++ *|(?<= )|^)(?:no,? |oh,? |oops,? |ah,? |er+,? |uh,? |hm+,? )*(?:sorry|no wait"
    r"|wait(?: a (?:second|moment|minute))?(?:,? no)?|i meant?(?: to say)?|i mean|scratch that|make that"
    r"|correction|or rather|rather(?! than)|on second thou?ghts?"
    r"|actually(?: no(?! (?:cpu|gpu|fall|calib|imatrix|limit|graphics|need)))?|oops|strike that|my (?:mistake|bad)"
    r"|no no|let me rephrase|i take that back)\b[ ,:.!-]*"
)
_NO_COMMA = Pattern(
    r"(?:[,;.:-]|\bhmm?) +no+(?:, +| +(?!gpu|cpu|graphics|dedicated|discrete|nvidia|cuda|separate|real|v?ram|video"
    r"|fall|tests?\b|measure|evaluation|\w+ing\b|imatrix|calib|need|more|less"
    r"|bigger|larger|way|matter|limit"
    r"|gguf|gptq|bitsandbytes|bnb|quantiz|safetensors|idea|problem|rush|hurry))"
)


def understand(line: str, *, of_models: bool = False) -> Sentence:
    """Return the reading of a line by itself; `of_models`: the line before it asked for a model."""
    wording = with_bundled(read(line), of_models)
    pieces = [piece for piece in _pieces(wording.plain) if piece.strip(" ,.;:!?-")]
    said: Slots = {}
    for piece in pieces:
        said = revise(said, extract(piece))
    said = revise(said, from_flags(wording))
    rules = [rule for rule in (classify(NO_TEST.sub(" ", piece)) for piece in reversed(pieces[1:])) if rule]
    chosen = next((rule for rule in rules if rule.intent not in ("unknown", "exit", "help")), None)
    rule = chosen or classify(NO_TEST.sub(" ", wording.plain))
    return _rather_quantize(_with_entities(Sentence(wording, wording.plain, rule, said), pieces))


def _rather_quantize(sentence: Sentence) -> Sentence:
    """Return the sentence without its rule where its values ask for a quantization: "They want to chat with <model>, so
    make it 4-bit gguf"."""
    rule = sentence.rule
    if rule is None or rule.intent not in _INCIDENTAL or sentence.names or not sentence.models:
        return sentence
    leads = rule.pattern.match(sentence.front) is not None
    told = len(sentence.said.keys() & {"method", "bits", "type", "target_size_gb", "format"}) > 0
    return replace(sentence, rule=None) if told and (not leads or _SO_MAKE.search(sentence.plain)) else sentence


_SO_MAKE = Pattern(r"\b(?:so|therefore|hence|which is why)\b.*\b(?:make|turn|convert|quantize|build|need|want|give)\b")
_INCIDENTAL = words("chat experiment serve test show list stats history help doctor demo")


def _pieces(plain: str) -> list[str]:
    return [piece for part in CORRECTS.split(plain) for piece in _NO_COMMA.split(part)]


def _with_entities(sentence: Sentence, pieces: list[str]) -> Sentence:
    entities = sentence.wording.entities
    path, taken = calibration(sentence.plain, entities)
    said = dict(sentence.said) | ({"calibration": path} if path else {})
    kept: list[int] = []
    for piece in pieces:
        here = [int(found[2]) for found in MARK.finditer(without_denied(_wanted(piece)))]
        if not _is_list_like(piece):
            kept = _without_last(kept, here, entities)
        kept += [index for index in here if index != taken and index not in kept]
    kept = kept or [int(found[2]) for found in MARK.finditer(sentence.plain) if int(found[2]) != taken]
    models = tuple(
        dict.fromkeys(entities[i].text for i in kept if entities[i].kind == "m" or _is_model_path(entities[i]))
    )
    names = tuple(
        dict.fromkeys(entities[i].text for i in kept if entities[i].kind == "n" or _is_gguf_path(entities[i]))
    )
    return replace(sentence, said=said, models=models, names=names)


def _without_last(kept: list[int], here: list[int], entities: tuple[Entity, ...]) -> list[int]:
    """Return `kept` after a correction, which replaces as many things as it names, from the end."""
    for index in here:
        same = [old for old in kept if entities[old].kind == entities[index].kind]
        kept = [old for old in kept if old != same[-1]] if same else kept
    return kept


_REFUSED_MARK = Pattern(
    r"\b(?:not|instead of|rather than|except(?: for)?|but not|other than)(?: (?:to|for|with|from|the|on"
    r"|compare|it))* <[mnp]\d+>"
)


def _wanted(piece: str) -> str:
    return _REFUSED_MARK.sub(" ", piece)


def _is_list_like(piece: str) -> bool:
    return re.search(r"\b(?:add|also|too|as well|include)\b", piece) is not None


def _is_gguf_path(entity: Entity) -> bool:
    return entity.kind == "p" and entity.text.lower().endswith(".gguf")


def _is_model_path(entity: Entity) -> bool:
    return entity.kind == "p" and not re.search(
        r"(?i)\.(?:txt|jsonl?|csv|tsv|parquet|md|html?|pdf|raw|dat|gguf)(?:\.gz)?$", entity.text
    )
