"""Typing errors in the words that carry meaning ("quantze", "statsu"). Knows words; never sees ids, paths or names.

A word is corrected only when it is one edit away from a keyword (two for long ones; an edit is a missing, extra,
wrong or swapped letter) and is no English word that merely looks alike.
"""

from __future__ import annotations

from functools import lru_cache

from lqmf.understanding.lexicon import METHOD, PROVIDER, TYPE
from lqmf.understanding.models import familiar_words
from lqmf.understanding.patterns import words

KEYWORDS = words(
    """quantize which quantise quantization quantized quantizable bitsandbytes gguf gptq compare comparison
    benchmark preflight statistics stats history delete remove erase verify rebuild report experiment finetune
    adapter adapters serve server sweep login logout status switch config configuration setting settings doctor
    explain cancel resume interrupted context tokens memory accurate accuracy quality fastest smallest smaller
    difference perplexity huggingface safetensors calibrate calibration calibrated supported gated possible
    successful succeeded failed failures models model graphics laptop fallback anthropic gemini openai claude
    ollama convert compress shrink squeeze provider documentation manifest show list test help demo exit quit
    plan chat bits instead without please recommend version checksum integrity inference processor convertible
    speed temperature previous download experiments everything discover evaluate format method actually the same
    better quicker hardware cache fit fits faster"""
)

# English words one edit away from a keyword; they stay as they are.
ENGLISH = words(
    """internal internals internet interned callbacks processed supposed seed letting dialogue companion robert
    boom concert influence ease integrate intensity flat slant codec coded interrupt interrupts hardwired
    graphical statistical wish with witch rich while white whim text best rest nest tests tested tester testing
    lists listed listing shows shown showed plans planned plane plain chats serves served serving severe nerve
    server servers compared compares deleted deletes removed removes erased verified verifies reported reports
    reporter mode modes modeled memories quality equality converted converts compressed shrinks shrunk status
    statue state states stat statistic helps helped helper demos exits exist quits quite quiet quoted suits bit
    bite bites biter bats bets byte bytes formal former formats methods exact speeds spend sped saved save some
    sane seam game name fame came tame lame better bitter letter setter setting sitting getting then them they
    there these those than that this thee tea ten he she her explains explained resumes resumed cancels
    cancelled canceled contest contexts content token taken broken possibly passible fail fails failing failure
    supports support unsupported supporter gate gates dated rated grated mated shop shot shoe slow snow chow how
    chart charts chap chat chatted hat what char list last lost lint mist fist gist least latest lasted help
    held hell kelp heap demon memo plot play plat plan planet exile edit quick guilt built suit reset resets
    rebuilds rebuilt convent convex invert conveyed compress express empress comprises shrine shrank squeezed
    squeezes without within instant insured pleased pleas lease release export exports import imports experiment
    experimental experts adapt adapted adapts adapters serve severs reserve deserve preserve observe several
    weep sleep steep swept switches switched twitch login logins logic logging logs config configs confirm
    confine configure configured doctors doctored resume presume version versions session mission informs
    information model models modem moral mortal medal modal mobile noble nobel moved move model's speech speak
    special specs spec stats start starts stars starting started stays stay stacks stack steps stop stops seats
    slots task tasks mest bests temp test previews preview previously process processes processor downloads
    downloaded downloading provide provides provided providers providing provider accuracy accurate inaccurate
    quantity quantities quantile smaller smallest small smell spelled fast faster fastest fattest vastest
    history historic historical the same tie toe shed sale sample samples simple shame bids bots buts boots hits
    lits nits pits sits wits kits fits gits its bit's debits digits habits limits units bits discovers
    discovered evaluated evaluates actual actually factual everybody everyone everything hardly hardware
    software everywhere quicken quickly quicker claud cloud clause claude open opens opened openly gem gems lamp
    alarm ollie drop drops possible impossible fallbacks feedback callback rollback perplexed difference
    differences different differ greedy graphic graphics graphs traffic laptops desktop verity versify notify
    modify verily very every cerify certify listen lets let's tests' format formatted compile compiled compose
    complete completed completely company comparing comparable remote remover recommend recommended recommends
    sweet sweat greet greets fleet smartest
    polar resort resorts lemma getter discovery deepspeed gamma command commands commend comment remake remade
    cached caches cachet fists rename renamed node nodes code codes coder models'"""
)

_SHORT = frozenset(word for word in KEYWORDS if len(word) < 5)
_SHORT_SLIPS = {"rnu": "run", "wil": "will", "wth": "with", "cna": "can", "hwo": "how"}  # too short to be looked up


def corrected(word: str) -> str:
    """Return the keyword that was meant, or the word itself."""
    if word in _SHORT_SLIPS:
        return _SHORT_SLIPS[word]
    if METHOD.fullmatch(word) or PROVIDER.fullmatch(word) or TYPE.fullmatch(word):
        return word
    if not 4 <= len(word) <= 20 or word in KEYWORDS or word in ENGLISH or not word.isascii():
        return word
    return _nearest(word)


@lru_cache(maxsize=4096)
def _nearest(word: str) -> str:
    reach = 1 if len(word) < 6 else 2
    shapes = _shortened(word, reach)
    candidates = {keyword for shape in shapes for keyword in _index().get(shape, ())}
    best = min(((_distance(word, keyword), keyword) for keyword in candidates), default=(99, word))
    return best[1] if best[0] <= _allowed(word, best[1]) else word


def _allowed(word: str, keyword: str) -> int:
    if keyword in _SHORT:  # only swapped or doubled letters: "lsit", "tset", "ggguf"
        return 1 if sorted(set(word)) == sorted(set(keyword)) else 0
    if word[0] != keyword[0] and word[1:3] != keyword[1:3] and word[:2] != keyword[1::-1]:
        return 0
    return 2 if min(len(word), len(keyword)) >= 8 or sorted(word) == sorted(keyword) else 1


@lru_cache(maxsize=1)
def _index() -> dict[str, list[str]]:
    index: dict[str, list[str]] = {}
    for keyword in sorted(KEYWORDS | familiar_words()):
        for shape in _shortened(keyword, 1 if len(keyword) < 6 else 2):
            index.setdefault(shape, []).append(keyword)
    return index


def _shortened(word: str, letters: int) -> set[str]:
    """Return the word, and every word that is left when up to `letters` letters are taken out."""
    shapes = {word}
    for _ in range(letters):
        shapes |= {shape[:i] + shape[i + 1 :] for shape in shapes for i in range(len(shape))}
    return shapes


def _distance(a: str, b: str) -> int:
    """Return the optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
