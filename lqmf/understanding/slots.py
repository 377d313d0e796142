"""The values in a sentence: bits, types, methods, devices, sizes and the rest. One small reader for each slot.

Knows the words around a value. Knows nothing of intents or of earlier sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lqmf.declared import methods
from lqmf.understanding.fitting import wish
from lqmf.understanding.lexicon import (
    METHOD,
    METHOD_WORDS,
    MOST,
    OTHER_WORDS,
    TYPE,
    method_has,
    type_bits,
    type_method,
    type_name,
)
from lqmf.understanding.models import MARK, Entity
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.running import cache_type, kv_type, parallel
from lqmf.understanding.tuning import settings
from lqmf.understanding.wording import Wording

Slots = dict[str, Any]

# ---------------------------------------------------------------- what was refused is not read

_VALUE = (
    rf"(?:(?:{METHOD_WORDS}|{OTHER_WORDS}|i?q\d_\w+|\d+(?:\.\d+)?[ -]?bits?"
    r"|safetensors|bf16|f16)"
    r"(?: (?:quantization|format|version|model))?)"
)
_REFUSED = Pattern(
    r"\b(?:not?|never|without|avoid(?:ing)?|except(?: for)?|anything but|instead of|rather than|other than"
    r"|as opposed to|skip|forget)"
    r" (?:(?:want|use|using|do|with|in|as|by|via|the|to|a|an|for|it|be|this|that|at|about|going|need|any|like) ){0,4}"
    + _VALUE
    + r"(?:,? (?:or|nor|and) (?:with |in |the )?"
    + _VALUE
    + ")*"
)
_PREFERRED = Pattern(r"\bprefer (.{2,30}?) (?:to|over) " + _VALUE)
_SOURCE = Pattern(
    r"\bfrom (?:the |its |an? )?(?:original )?" + _VALUE + r"(?= to\b)"
    r"|\b(?:from|the|its|original) (?:fp?16|bf16|fp?32)(?: (?:weights|model|checkpoint|original|version))?(?= to\b)"
    r"|\b(?:fp?16|bf16|fp?32) (?:weights|checkpoint|original)\b"
)


def without_refused(plain: str) -> str:
    """Return the sentence without the values that it says no to ("not with gptq"), and without those that it starts
    from ("from fp16")."""
    plain = _PREFERRED.sub(r"use \1", plain)
    return _SOURCE.sub(" ", _REFUSED.sub(" ", plain))


# ---------------------------------------------------------------- CPU fallback

_FALLBACK_WORDS = r"(?:fall(?:s|ing)?(?: it)?[ -]?backs?|fallbacks?)"
_TROUBLE = (
    r"(?:out of (?:v?ram|(?:gpu |video )?memory)|ooms?\b|not enough|too (?:small|big|large|little)"
    r"|fails?\b|not fit|full\b|no (?:room|space)"
    r"|can not|insufficient|necessary|needed|runs? out|need be|must"
    r"|exhausted|busy|not available|unavailable|not work|crash\w*)"
)
_NO_FALLBACK = Pattern(
    r"\b(?:do not|never|no|without|not|can not|disable|refuse to|forbid(?:ding)?|skip|avoid|must not"
    r"|turn off)\b(?: \w+){0,4}? ?(?:cpu )?" + _FALLBACK_WORDS + r"(?:(?: \w+){0,4}? (?:cpu|it))?"
    r"|\bcpu fallback(?: is| =|:)? (?:off|false|disabled|not (?:allowed|ok|wanted))"
    r"|\b(?:do not|never|not) (?:\w+ ){0,3}(?:switch|go|move|spill|retreat|resort|drop|offload)\w* (?:\w+ ){0,3}cpu\b"
    r"|\b(?:if|when|should|in case)\b[^;]{0,60}" + _TROUBLE + r"[^;]{0,40}\b(?:do not|never|not)\b(?: \w+){0,3}? cpu\b"
    r"|\b(?:fail|abort|stop|give up)\b[^.;]{0,30}\b(?:rather than|instead of|before)\b[^.;]{0,25}\bcpu\b"
    r"|\brather (?:fail|abort|stop)\b[^.;]{0,25}\bcpu\b"
    r"|"
    + _FALLBACK_WORDS
    + r"[^.;]{0,30}\b(?:is|are) (?:not|never|forbidden|out of the question|unacceptable|no option)(?: \w+)?"
)
_FALLBACK = Pattern(
    r"\b(?:offload|spill|overflow)\w*(?: \w+){0,4}? (?:to|onto|into|in|on) (?:the |my |system |main |normal )*"
    r"(?:cpu|ram|memory)\b|"
    + _FALLBACK_WORDS
    + r"(?: \w+){0,4}? (?:cpu|ram)\b(?:[^.;]{0,30}"
    + _TROUBLE
    + r")?|\bcpu "
    + _FALLBACK_WORDS
    + r"|\b(?:allow|enable|with|permit)(?: (?:a|an|the|for|cpu|automatic|optional|possible|some)){0,2} "
    + _FALLBACK_WORDS
    + r"(?:(?: (?:to|on|onto|over|back|the|my|a))* cpus?\b)?"
    + r"|\b(?:if|when|should|in case|as soon as)\b[^.;]{0,60}"
    + _TROUBLE
    + r"[^.;]{0,40}\bcpu\b(?: instead)?"
    r"|\b(?:use|using|switch\w*|try|move|go|continue|finish|drop|resort|retry|do it|run|take)\b(?: \w+){0,4} cpu\b"
    r"(?: \w+){0,2} ?,? (?:if|when|in case|should)\b[^.;]{0,60}"
    + _TROUBLE
    + r"|\bcpu (?:if|when|in case)\b[^.;]{0,60}"
    + _TROUBLE
    + r"|\botherwise(?: \w+){0,4} cpu\b|\bor else(?: \w+){0,4} cpu\b"
    r"|\bcpu (?:as|is) (?:\w+ ){0,3}(?:backup|fallback|fall-back|plan b|last resort|spare)"
    r"|\bcpu is (?:fine|ok) (?:as|if)[^.;]*"
    + _FALLBACK_WORDS
    + r"|\b(?:backup|plan b)[^.;]{0,20} cpu\b|"
    + _FALLBACK_WORDS
    + r"\b(?= (?:is )?(?:on|ok|allowed|true|yes|enabled))"
)


def _cpu_fallback(plain: str) -> tuple[bool | None, str]:
    if _NO_FALLBACK.search(plain):
        return False, _NO_FALLBACK.sub(" ", plain)
    if _FALLBACK.search(plain):
        return True, _FALLBACK.sub(" ", plain)
    return None, plain


# ---------------------------------------------------------------- sizes: of memory, of the file

_GPU_MODEL = (
    r"(?:(?:rtx|gtx|rx|arc|tesla|quadro) ?-?[a-z]?\d{2,4}\w*(?: ?(?:ti|super|xt|xtx))*"
    r"|(?<![\w.])(?:\d ?x ?)?(?:a100|h100|h200|v100|p[14]00?|t4|l4|a10g?|l40s?|a[2-6][05]00|titan|quadro|tesla"
    r"|[67][6-9]00 ?(?:xtx?|gre)|mi\d{2,3}"
    r"|[1-5]0[5-9]0(?: ?(?:ti|super))?)(?![\w.]))"
)
_GPU_NOUN = (
    r"(?:v-?ram|gpus?|graphics?(?:[ -]?cards?)?|video[ -]?(?:cards?|memory|ram)|(?:nvidia|geforce|radeon"
    rf"|cuda|amd gpu|intel arc)\b|{_GPU_MODEL}|cards?)"
)
ANOTHER_GPU = Pattern(rf"\b(?:an?|another|two|a new|a used) (?:\w+ ){{0,2}}{_GPU_MODEL}")
_GPU = Pattern(r"\b" + _GPU_NOUN + r"\b|\bmetal\b|\brocm\b")
_SIZE = Pattern(
    r"(?<![\w.<-])(\d+(?:[.,]\d+)?)[ -]?(gi?bs?|gigs?|gigas?|gigabytes?|gibibytes?|go|g|mi?bs?|megs?|megabytes?"
    r"|mebibytes?|mo|ti?b|terabytes?)"
    r"(?![\w])"
)
_MEMORY_NOUN = (
    r"(?:ram|memory|system|machine|laptop|pc|computer|box|desktop|server|mac(?:book)?|raspberry"
    r"|workstation|notebook|device"
    r"|instance|vm|node|rig|host|thinkpad|chromebook|mini|nuc|unified|ddr\d)"
)
_AFTER_GPU = Pattern(
    r"^[ -]?(?:(?:of|on|in|my|the|a|nvidia|dedicated|free|available|old|single|consumer|video|gaming|little"
    r"|on-board) )*" + _GPU_NOUN + r"\b"
)
_AFTER_MEMORY = Pattern(
    r"^[ -]?(?:(?:of|on|in|my|the|a|free|system|total|available|main|old|unified|little|apple|m\d|windows"
    r"|linux) )*" + _MEMORY_NOUN + r"\b"
)
_AFTER_RAM = Pattern(
    r"^[ -]?(?:(?:of|on|in|my|the|a|free|total|available|normal|regular|cpu|system|fast|more) )*"
    r"(?:ram|ddr\d|(?:system|main) memory)\b"
)
_AFTER_FILE = Pattern(
    r"^[ -]?(?:(?:of|on|in|my|the|a|gguf|single|max(?:imum)?) )*(?:files?|disk|drive|usb|stick|download"
    r"|in size|big|large|total|size"
    r"|artifact|sd|dvd|or (?:less|smaller|under|below)|max(?:imum)?|at most|tops|limit)\b"
)
_BEFORE_GPU = Pattern(
    _GPU_NOUN + r"(?:[ ,(:=-]+(?:with|has|have|of|is|only|just|that|which|got|and|it|my|the|at|memory|limit|at most"
    r"|about|a|an|budget|under|below|to|use|using))*[ ,(:=]*$"
)
_BEFORE_MEMORY = Pattern(
    r"\b"
    + _MEMORY_NOUN
    + r"(?:[ ,(:=-]+(?:with|has|have|of|is|only|just|that|which|got|and|it|my|the|at|budget|limit|usage|use"
    r"|under|below|at"
    r" most|about|around|to|stay|stays|must|be|should))*[ ,(:=]*$"
)
_BEFORE_RAM = Pattern(
    r"\b(?:ram|(?:system|main) memory)(?:[ ,:=]+(?:of|is|only|just|about|at|limit|to|was|were|has|with"
    r"|i|we|have|got|there))*[ :=]*$"
)
_INTO = Pattern(r"\b(?:fits?|in|into|within|under|only|of)(?: (?:only|just|about|my|the|an?))* *$")
_OWNED = Pattern(_GPU_NOUN + r"(?: (?:with|has|have|having|of|that|which|only|just|about|an?))+ *$")
_BEFORE_FILE = Pattern(
    r"\b(?:files?|size[ds]?|download|under|below|at most|max(?:imum)?(?: of)?|no (?:more|bigger|larger"
    r"|greater) than|less than|smaller than"
    r"|fewer than"
    r"|not (?:exceed|over|above|more than|bigger than|larger than)|up to"
    r"|no bigger|within|down to|limit(?: of| to)?|(?:<|<=)"
    r"|(?:bigger|larger|greater|heavier) than|beyond|above|not exceed\w*|exceed\w*|weigh\w*|target(?: size)?|to"
    r"|about|around"
    r"|roughly|approximately|budget of|onto an?|smaller|bigger|over"
    r""
    r"|in)(?: (?:is|be|of|a|about|around|roughly|the|must|should|stay|size|total|at|most|than|under|below"
    r"|to|no|more|just|only|it|:|=))*[ :=]*$"
)
_TO_FIT = Pattern(
    r"\b(?:(?:what|how) about"
    r"|fits?|fitting|runs?|running|load|have|has|got|with|for|on|only|upgrad\w+)(?: (?:in|into|on|inside|within|my"
    r"|the|an?|just|only|about|under|at|most|less|than|it|to|all|of|we|i))*[ :]*$"
)
_SHRINK = Pattern(
    r"\b(?:shrink|squeeze|compress|reduce|bring|get|cut|slim|cram|pack|make|keep|squash|squish|crush|stuff"
    r"|convert|turn|boil|trim|take|push|force)\b[^.;]*\b(?:to|into|under"
    r"|below|at|down)(?: \w+){0,2} ?$"
)
_OF_MIX = Pattern(
    r"\bauto\b(?: (?:types?|mix\w*|quant\w*))?(?:[ ,]+(?:of|for) +<m\d+>)?(?:[ ,]+(?:at|of|with|weighing))?[ ,@]*$"
)
_NEGATIVE = Pattern(r"(?<!\d )(?<!\S)-\d+(?:[.,]\d+)? ?(?:[mgt]i?b|gigs?|g)\b", re.IGNORECASE)


def below_zero(line: str) -> tuple[str, ...]:
    """Return the amounts of memory in a line that nobody can have ("-3GB"). None of them is read as an amount."""
    return tuple(found[0] for found in _NEGATIVE.finditer(line))


def _sizes(plain: str) -> tuple[Slots, str]:
    slots: Slots = {}
    machine: int | float | None = None
    for found in _SIZE.finditer(plain):
        number, unit = float(found[1].replace(",", ".")), found[2]
        kind = _kind_of_size(plain[: found.start()], plain[found.end() :])
        memory = _tidy(number * _memory_unit(unit))
        if unit == "g" and kind == "target":
            continue
        if kind == "target":
            slots["target_size_gb"] = _tidy(number * _file_unit(unit))
        elif kind == "ram":
            slots["ram_gb"] = memory
        elif kind == "gpu":
            slots |= {"memory_gb": memory, "device": "gpu"}
        elif "device" not in slots:
            slots["memory_gb"] = memory
        machine = memory if kind == "machine" else machine
    if machine is not None and "device" in slots:  # beside a GPU's own memory, the machine's is RAM
        slots.setdefault("ram_gb", machine)
    had = _HAD.search(plain)
    if had and not slots:
        slots["memory_gb"] = int(had[1])
    return slots, _SIZE.sub(" ", plain)


_HAD = Pattern(
    r"\b(?:i|we|if it|card|gpu|laptop|machine|pc)(?: (?:only|just|actually|turn(?:s|ed) out to))*"
    r" (?:had|have|has|got)(?: only| just)? (\d{1,3})(?: instead| actually| though)?[\s?!.]*$"
)


def _kind_of_size(before: str, after: str) -> str:
    clause = re.split(r"[.;!?]|, (?!\d)", before)[-1]
    if _AFTER_GPU.search(after):
        return "gpu"
    if _AFTER_RAM.search(after) and not _OWNED.search(before):
        return "ram"
    if _AFTER_MEMORY.search(after):
        return "memory" if _OWNED.search(before) or _INTO.search(before) else "machine"
    if _BEFORE_GPU.search(before):
        return "gpu"
    if _BEFORE_RAM.search(before):
        return "ram"
    if _BEFORE_MEMORY.search(before):
        return "memory"
    if _AFTER_FILE.search(after):
        return "target"
    if _TO_FIT.search(clause):
        return "memory"
    if _SHRINK.search(clause) or _BEFORE_FILE.search(clause) or _OF_MIX.search(before):
        return "target"
    return "memory"


def _memory_unit(unit: str) -> float:
    return 1 / 1024 if unit[0] == "m" else 1024 if unit[0] == "t" else 1


def _file_unit(unit: str) -> float:
    scale = {"m": 1e-3, "g": 1.0, "t": 1e3}[unit[0]]
    binary = {"m": 1.048576e-3, "g": 1.073741824, "t": 1099.511627776}[unit[0]]
    return binary if unit.startswith(("gi", "mi", "ti")) and unit[:3] not in ("gig",) else scale


def _tidy(number: float) -> int | float:
    rounded = round(number, 6)
    return int(rounded) if rounded == int(rounded) else rounded


# ---------------------------------------------------------------- context

_COUNT = r"(\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?) ?(k|m|thousand|million)?"
_CONTEXT: tuple[Pattern, ...] = tuple(
    Pattern(pattern)
    for pattern in (
        r"(?<![\w.<-])" + _COUNT + r"[ -]?(?:tokens?(?! ?(?:per|/|a) ?s)|context|ctx|(?:long )?window)\b",
        r"\b(?:context|ctx|window|n_ctx|context[ -](?:size|length|window))(?: (?:size|length|window|of|is"
        r"|at|up|to|must|be|should|about|around))*[ :=]*" + _COUNT + r"(?![\w.]|[ -]?(?:bits?|gb))",
        r"(?<![\w.<-])(\d+(?:\.\d+)?)(k)(?![\w-]|\.\d)",
    )
)


def _context(plain: str) -> tuple[int | None, str]:
    for pattern in _CONTEXT:
        found = pattern.search(plain)
        if found:
            count = float(found[1].replace(",", ""))
            scale = {"k": 1024, "thousand": 1000, "m": 1024**2, "million": 1000**2}.get(found[2] or "", 1)
            return int(count * scale), plain[: found.start()] + " context " + plain[found.end() :]
    return None, plain


# ---------------------------------------------------------------- bits, type, method, device, the rest

# A mix of types that LQMF chooses: "pick the types yourself", "automatically to 4.2 GB"
_MIX = Pattern(
    r"\b(?:choose|pick|select|decide(?: on)?|find) (?:the |all |best |right )*types(?: (?:yourself|for me|automatically"
    r"|on your own|of (?:each|every|all) tensors?))*"
    r"|(?<!\bis )(?<!\bis a )\b(?:an? )?(?:auto(?:matic)?[ -])?(?:mix(?:ture)? of|mixed) (?:quant(?:ization)? )?types\b"
    r"|\bautomatic mix\b|\bauto-mix\b|\bautomatically(?= (?:to|at|under|down to|into) \d)"
)

_BITS = Pattern(
    r"(?<![\w.<-])(\d{1,2}(?:\.\d+)?)[ -]?bits?\b"
    r"|\bbits? ?(?:=|:|of|to)? ?(\d{1,2})(?![\w.])"
    r"|(?<![\w.-])q([2-8])(?![\w.]|-\w)|(?<![\w.])w([48])a(?:16|8)\b"
    r"|\b(?:make (?:it|that|this)|use|take|try) ([2-8])(?= (?:and|please|then|instead|now)\b|[,.!?]|$)"
)
_LISTED = Pattern(
    r"(?<![\w.])(\d(?:\.\d)?)(?:[ -]?bits?)?(?:, (?:and |or )?| or | and | vs\.? | versus "
    r"|/)(?:\d(?:\.\d)?(?:[ -]?bits?)?(?:, (?:and |or )?| or | and ))*\d(?:\.\d)?[ -]?bits?\b"
)
_CHOICE = Pattern(r" *(?:,|or|and|vs\.?|versus|/|, or|, and) *")

_NO_GPU = Pattern(
    r"\b(?:no|without|lacks?|lacking|not have|does not have|not got|have not|not using|not use|not on|not"
    r"|minus|instead of|rather than|ain't got|zero)"
    r" (?:(?:a|an|any|my|the|have|got|dedicated|discrete|real|nvidia|proper|good|use|using|on|with|for"
    r"|decent|separate) )*" + _GPU_NOUN + r"\b"
    r"|\bgpu[ -]?(?:less|free)\b|\bnon-?gpu\b"
)
_NO_CPU = Pattern(
    r"\b(?:not?|never|without|not use|instead of|rather than|avoid) (?:(?:on|the|my|for|use|using|touch|touching|with"
    r"|a) )*cpus?\b(?! fallback)"
)
_CPU = Pattern(
    r"\b(?:cpus?(?:[ -]?only)?|processors?|raspberry(?: ?pi)?|\bpi(?: ?[345])?\b|xeon|ryzen|epyc|threadripper"
    r"|core i\d|i[3579]-\d{3,5}\w*|i[3579] (?:laptop|machine|pc)|celeron|atom|avx2?)\b"
)

_PRIORITIES: tuple[tuple[str, Pattern], ...] = tuple(
    (name, Pattern(pattern))
    for name, pattern in (
        (
            "quality",
            r"\b(?:most (?:accurate|precise|faithful)|(?:best|highest|top|max(?:imum|imal)?|good|high"
            r"|great|better|excellent)(?: possible)?[ -](?:quality|accuracy|fidelity|precision|results?"
            r"|answers)"
            r""
            r"|quality (?:matters|first|is|over|above|comes|counts|as|mode|most|priority)"
            r"|(?:prioriti[sz]e|favou?r|prefer|maximi[sz]e|care about|for|on|focus on"
            r"|keep(?:ing)?(?: the)?|emphasis on|about) (?:the |max(?:imum)? )?(?:quality|accuracy"
            r"|fidelity)"
            r""
            r"|as (?:accurate|good|precise|faithful|close)(?: to the original)? as (?:possible|you can"
            r"|it gets|can be)|accuracy (?:matters|first|is|over|above|comes|counts)"
            r"|accurate as"
            r""
            r"|(?:without|no|least|minimal|little|lowest|minimum|smallest|as little) (?:\w+ )?(?:quality"
            r"|accuracy)(?: loss)?"
            r"|(?:least|minimal|smallest) (?:loss|damage|degradation)"
            r"|lose (?:as little|no|the least)|near[ -]lossless|lossless"
            r"|best you can|highest[ -]?quality|priority:? ?quality)\b",
        ),
        (
            "speed",
            r"\b(?:fastest|quickest|speed (?:matters|first|is|over|above|comes|counts|mode|most|priority)"
            r"|(?:prioriti[sz]e|favou?r|prefer|maximi[sz]e|care about|for|focus on|emphasis on|top"
            r"|max(?:imum)?|best|highest|about|on) (?:the |max(?:imum)? )?(?:speed|throughput|latency)"
            r"|as (?:fast|quick|speedy) as|(?:low|lowest|minimal|least)[ -]latency"
            r"|fast (?:inference|generation|responses?|answers?|as|enough|one|version|and)"
            r"|(?:be|run|runs|really|very|needs? to be|should be|make it|super) (?:\w+ )?(?:fast|quick)"
            r"|(?:answer|respond|repl(?:y|ie)|generate|work|react|load)s? (?:\w+ )?(?:fast|quick(?:ly)?)"
            r"|faster|quick (?:inference|responses?|answers?)|speedy|snappy"
            r"|(?:most )?responsive|high(?:est)? throughput|more speed"
            r"|priority:? ?speed)\b",
        ),
        (
            "size",
            r"\b(?:smallest(?! (?:loss|damage|degradation|quality|accuracy))|tiniest|as (?:small|tiny"
            r"|compact|little) as (?!loss)|(?:min(?:imal|imum)?|least|lowest|small|smaller"
            r"|tiny) (?:possible )?(?:file|size|footprint|disk|space|download)|size (?:matters|first"
            r"|is (?:what|the|most|all)|over|above|comes|counts|mode|most|priority)"
            r""
            r"|(?:prioriti[sz]e|favou?r|prefer|minimi[sz]e|care about|optimi[sz]e for|focus on|emphasis on"
            r"|for|about|on) (?:the |min(?:imum|imal)? |small )?(?:size|footprint|disk (?:space|usage)"
            r"|file size)|(?:save|saving|saves) (?:\w+ )?(?:disk|space|storage)"
            r"|(?:the )?smaller the better|(?:shrink|compress|reduce|squeeze)\b[^.;]{0,40}\bas (?:far|much"
            r"|hard) as (?:possible|you can|it (?:goes|gets))"
            r"|(?:disk(?: space)?|space|storage) is (?:\w+ )?(?:tight|limited|scarce"
            r"|low|precious)"
            r"|(?:short|low|tight) (?:on|of) (?:disk|space|storage)|(?:little|limited|not much) (?:disk|space|storage)"
            r"|most compact|compact|smallest[ -]?possible"
            r"|make (?:it|this|that|them) (?:really |very |super |quite )?(?:tiny|small|little)"
            r"|tiny (?:version|gguf|build)|teeny|priority:? ?size)\b",
        ),
    )
)
_FORMAT = Pattern(r"\bsafe ?-?tensors?\b")
_GGUF_FORMAT = Pattern(r"\bgguf (?:format|file|container)\b|\bformat[ :=]+gguf\b")
_CALIBRATION = Pattern(
    r"\b(?:calibrat\w*|imatrix|importance matrix|calib)\b[^.;]*?<p(\d+)>"
    r"|<p(\d+)>[^<,.;]{0,25}\b(?:as|for|to)\b[^<,.;]{0,15}\b(?:calibrat\w*|imatrix|calib)\b"
)
_STATUS: tuple[tuple[str, Pattern], ...] = (
    (
        "failed",
        Pattern(
            r"\b(?:failed|failing|fail|failures?|unsuccessful|broken|errored|errors?|crashed|went wrong|(?:did"
            r"|do) not (?:work|succeed|finish|complete)|not (?:work|succeed|successful)\w*|bad ones|broke"
            r"|status:? ?failed|red ones|that crash)\b"
        ),
    ),
    (
        "ok",
        Pattern(
            r"\b(?:successful(?:ly)?|succeeded|success(?:es)?|passed|worked|completed|went (?:well|fine|ok|through"
            r"|right)|ok ones|good ones|that work|status:? ?(?:ok|done)|finished|(?<=^list )ok|ok (?=runs|jobs"
            r"|models|experiments)|(?:is|are|were|was) (?:ok|okay"
            r"|fine|good)|green ones|fine ones)\b"
        ),
    ),
)


def _type(plain: str) -> tuple[str | None, str]:
    spans = [(found, type_name(found[0])) for found in TYPE.finditer(plain)]
    spans = [(found, name) for found, name in spans if name]
    if not spans:
        return None, plain
    rest = TYPE.sub(lambda found: " type " if type_name(found[0]) else found[0], plain)
    return (None if _joined(plain, [found for found, _ in spans]) else spans[-1][1]), rest


def _joined(plain: str, spans: list[re.Match[str]]) -> bool:
    """Return whether the last two matches are offered side by side ("4 or 5 bits"): then neither of them is what is
    wanted."""
    if len(spans) < 2:
        return False
    return _CHOICE.fullmatch(plain[spans[-2].end() : spans[-1].start()]) is not None


def _bits(plain: str) -> int | float | None:
    if _LISTED.search(plain):
        return None
    found = list(_BITS.finditer(plain))
    if not found or _joined(plain, found):
        return None
    number = float(next(group for group in found[-1].groups() if group))
    return _tidy(number) if 1 <= number <= 32 else None


def _method(plain: str) -> str | None:
    found = list(METHOD.finditer(plain))
    if not found or (_joined(plain, found) and found[-1].lastgroup != found[-2].lastgroup):
        return None
    kept = [span.lastgroup for span in found if not _GGUF_FORMAT.match(plain, span.start())]
    return kept[-1] if kept else found[-1].lastgroup


_INTEGRATED = Pattern(
    r"\b(?:(?:only|just|with|has|have|an?|intel|the) )*(?:integrated|onboard|on-board|intel(?: u?hd| iris)?|igpu"
    r") ?(?:graphics?(?:[ -]cards?)?|gpus?|video)\b|\bigpu\b"
)
_SHORT_OF_GPU = Pattern(r"\bgpu[ -]?poor\b")


def _device(plain: str) -> str | None:
    plain = _SHORT_OF_GPU.sub(" ", _INTEGRATED.sub(" cpu ", plain))
    plain, no_gpu = _NO_GPU.subn(" cpu ", plain)
    plain = _NO_CPU.sub(" gpu " if not no_gpu else " ", plain)
    seen = sorted(
        [(found.start(), found.end(), "cpu") for found in _CPU.finditer(plain)]
        + [(found.start(), found.end(), "gpu") for found in _GPU.finditer(plain)]
    )
    if not seen:
        return "gpu" if re.search(r"\bcuda\b", plain) else None
    if len(seen) > 1 and seen[-1][2] != seen[-2][2] and _CHOICE.fullmatch(plain[seen[-2][1] : seen[-1][0]]):
        return None
    return seen[-1][2]


_LONE_PRIORITY = Pattern(
    r"(?:^|[,;:] ?)(?:for )?(?:best |max )?(?P<alone>quality|speed|size)(?: first| please)?(?= ?(?:[,;:.!]|$))"
    r"|\b(?P<does>quality|speed|size) (?:does|is)(?=[\s.!]*$)"
    r"|\b(?:matters(?: \w+)?|important(?: \w+)?|main thing|priority) (?:is"
    r"|here is) (?:the )?(?P<stated>quality|speed|size)\b"
)


_UNIMPORTANT = Pattern(
    r"\b(?:do|does|did|is|are|should|need) not (?:(?:really|even|much|need|have) )*(?:care|mind|worry|bother"
    r"|matter|focus)\w*"
    r"(?: (?:so |too |that )?much)?(?: (?:if|when|about|for|on))?(?: (?:it|the|is|best|top|high(?:est)?|a bit"
    r"|loses?|losing|some))*"
    r" ?(?:quality|accuracy|speed|size|slow|fast|fastest|big|large|small)?\b"
    r"|\b(?:quality|accuracy|speed|size) (?:is|does|do|are) (?:not|secondary|no|unimportant)(?: (?:so|that|very))?"
    r"(?: (?:important|matter|relevant|issue|concern|priority|an issue))?"
    r"|\b(?:regardless of|whatever the|no matter (?:the|how)|even if|forget(?: about)?|at the (?:cost|expense) of)"
    r" (?:the |it is |quality is |it loses (?:some )?)*(?:quality|accuracy|speed|size|slow\w*|big\w*|fast)\b"
)


def _priority(plain: str) -> str | None:
    plain = _UNIMPORTANT.sub(" ", plain)
    found = _first(_PRIORITIES, plain)
    alone = None if found else _LONE_PRIORITY.search(plain)
    return alone[alone.lastgroup or 0] if alone else found or wish(plain)


def _first(table: tuple[tuple[str, Pattern], ...], plain: str) -> str | None:
    return next((name for name, pattern in table if pattern.search(plain)), None)


def status(plain: str) -> str | None:
    """Return "failed" where the sentence asks for failures, "ok" where it asks for successes, else None."""
    return _first(_STATUS, plain)


def calibration(plain: str, entities: tuple[Entity, ...]) -> tuple[str | None, int | None]:
    """Return the calibration file that is named, and the number of its mark; None for both where none is named."""
    found = _CALIBRATION.search(plain)
    if not found:
        return None, None
    index = int(found[1] or found[2])
    return entities[index].text, index


def extract(plain: str) -> Slots:
    """Return every value that a piece of a plain sentence gives, except the names that marks stand for."""
    cache, plain = kv_type(MARK.sub(lambda found: f" {found[0]} ", plain))
    chats, plain = parallel(plain)
    own, owner, plain = settings(plain)
    plain = _MIX.sub(" type auto ", without_refused(plain))
    fallback, plain = _cpu_fallback(plain)
    sizes, plain = _sizes(plain)
    context, plain = _context(plain)
    type_, rest = _type(plain)
    bits = _bits(rest)
    method = _method(plain) or (None if type_ else owner)
    slots: Slots = {
        "test": _test(plain),
        "type": type_,
        "bits": bits if bits is not None or type_ not in ("int8", "int4") else type_bits(type_ or ""),
        "method": method,
        "parameters": own,
        "context": context,
        "kv_type": cache,
        "parallel": chats,
        "cpu_fallback": fallback,
        "priority": _priority(plain),
        "purpose": "finetune" if _PURPOSE.search(plain) else None,
        "format": _format(plain, method),
        "device": _device(rest),
        "status": status(plain),
    }
    return in_bounds({key: value for key, value in slots.items() if value is not None} | sizes)


def in_bounds(slots: Mapping[str, Any]) -> Slots:
    """Return the slots whose numbers can be meant: from above zero to `MOST`."""
    return {key: value for key, value in slots.items() if key not in MOST or 0 < value <= MOST[key]}


_PURPOSE = Pattern(
    r"\bfor (?:later |some |my |a |the )*(?:q?lora|fine[ -]?tuning|training|adapters?)\b"
    r"|\b(?:so that|because|as) (?:i|we) (?:can|want to|will|may)(?: later)? (?:fine[ -]?tune|train)\b"
    r"|\bto (?:fine[ -]?tune|train) (?:on|it|later|(?:an? )?(?:q?lora|adapters?))\b"
)


_TESTED = r"(?:tests?|testing|measur\w+|evaluat\w+|quality checks?|receipt)"
NO_TEST = Pattern(
    r"\b(?:skip(?:ping)?|without|no|not|omit|leave out|leaving out|drop|forget|never ?mind|do not (?:do|run|want|need"
    r"|make)?"
    r"|no need (?:to|for))(?: (?:the|a|an|any|to|run|do|doing|running|want|need|about|all|my|quality|it for|me))*"
    rf" {_TESTED}\b(?: (?:it|afterwards|after|please|at all|run|then|now|this time))*|\b(?:untested|unmeasured)\b"
)
_DEPTH = Pattern(rf"\b(?:with|and|do|run) (?:an? |the )?(quick|short|comprehensive|full|thorough|long) {_TESTED}\b")


def _test(plain: str) -> str | None:
    """Return how well the result shall be measured: "none", "quick" or "comprehensive"; None where it is left open."""
    if NO_TEST.search(plain):
        return "none"
    depth = _DEPTH.search(plain)
    return ("quick" if depth[1] in ("quick", "short") else "comprehensive") if depth else None


def _format(plain: str, method: str | None) -> str | None:
    if _FORMAT.search(plain):
        return "safetensors"
    return "gguf" if method and methods.of(method).format != "gguf" and _GGUF_FORMAT.search(plain) else None


# ---------------------------------------------------------------- a command line's options


def from_flags(wording: Wording) -> Slots:
    """Return the slots that `--options` say."""
    slots: Slots = {}
    for name, value in wording.flags:
        reader = _FLAGS.get(name)
        if reader:
            slots |= in_bounds({key: found for key, found in reader(value).items() if found is not None})
    return {"device": "gpu"} | slots if {"memory_gb", "ram_gb"} <= slots.keys() else slots


def _flag_number(key: str) -> Callable[[str], Slots]:
    def read(value: str) -> Slots:
        found = re.fullmatch(r"(\d{1,12}(?:\.\d+)?)(k?)", value.lower().replace(",", ""))
        return {key: _tidy(float(found[1]) * (1024 if found[2] else 1))} if found else {}

    return read


def _flag_size(key: str, unit: Callable[[str], float]) -> Callable[[str], Slots]:
    def read(value: str) -> Slots:
        found = re.fullmatch(r"(\d{1,12}(?:\.\d+)?)\s*([gmt]?)(i?b?)", value.lower())
        return {key: _tidy(float(found[1]) * unit((found[2] or "g") + found[3]))} if found else {}

    return read


def _flag_word(key: str, allowed: Mapping[str, str]) -> Callable[[str], Slots]:
    return lambda value: {key: allowed.get(value.lower())}


def _same(words: str) -> dict[str, str]:
    return {word: word for word in words.split()}


def _flag_type(value: str) -> Slots:
    name = type_name(value)
    return {"type": name, "bits": type_bits(name) if name in ("int8", "int4") else None} if name else {}


_FLAGS: dict[str, Callable[[str], Slots]] = {
    "method": lambda value: {"method": found.lastgroup if (found := METHOD.fullmatch(value.lower())) else None},
    "type": _flag_type,
    "bits": _flag_number("bits"),
    "device": _flag_word("device", _same("cpu gpu") | {"cuda": "gpu"}),
    "memory": _flag_size("memory_gb", _memory_unit),
    "ram": _flag_size("ram_gb", _memory_unit),
    "kv-type": lambda value: {"kv_type": cache_type(value)},
    "parallel": _flag_number("parallel"),
    "context": _flag_number("context"),
    "target-size": _flag_size("target_size_gb", _file_unit),
    "format": _flag_word("format", _same("gguf safetensors")),
    "priority": _flag_word("priority", _same("quality speed size")),
    "calibration": lambda value: {"calibration": value or None},
    "status": _flag_word("status", {"ok": "ok", "done": "ok", "failed": "failed"}),
    "cpu-fallback": lambda _: {"cpu_fallback": True},
    "no-cpu-fallback": lambda _: {"cpu_fallback": False},
}


# ---------------------------------------------------------------- one revision after another


def revise(slots: Mapping[str, Any], said: Mapping[str, Any]) -> Slots:
    """Return the slots said before, changed by those said now; values that no longer agree with the new words are
    dropped."""
    merged: Slots = {**slots, **said}
    _revise_type(slots, said, merged)
    if "type" in said and "bits" in slots and "bits" not in said:
        bits = type_bits(said["type"])
        if bits is not None:
            merged["bits"] = bits
    if "type" in said and "method" in slots and "method" not in said:
        merged["method"] = type_method(said["type"]) or slots["method"]
    if "method" in said and "format" not in said and said["method"] != slots.get("method"):
        merged.pop("format", None)
    _revise_parameters(slots, said, merged)
    if "name" in said:
        merged.pop("names", None)
    if "names" in said:
        merged.pop("name", None)
    return merged


def settled(slots: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the slots with RAM as `ram_gb` beside a GPU's memory; where no GPU is meant, RAM is the memory."""
    if "ram_gb" not in slots or slots.get("device") == "gpu":
        return slots
    return {key: value for key, value in slots.items() if key != "ram_gb"} | {"memory_gb": slots["ram_gb"]}


def _revise_type(slots: Mapping[str, Any], said: Mapping[str, Any], merged: Slots) -> None:
    if "type" in slots and "type" not in said and contradictions({**said, "type": slots["type"]}):
        merged.pop("type", None)


def _revise_parameters(slots: Mapping[str, Any], said: Mapping[str, Any], merged: Slots) -> None:
    """Keep a method's own settings in `merged` as long as the method stays."""
    stays = _way(merged) in (None, _way(slots))
    merged["parameters"] = {**((stays and slots.get("parameters")) or {}), **said.get("parameters", {})}
    if not merged["parameters"]:
        del merged["parameters"]


def _way(slots: Mapping[str, Any]) -> str | None:
    return slots.get("method") or type_method(slots.get("type") or "")


def contradictions(slots: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the contradictions among the slots, a sentence for each."""
    type_, bits, method, format_ = (slots.get(key) for key in ("type", "bits", "method", "format"))
    found = []
    if type_ and bits is not None and type_bits(type_) not in (None, int(bits)):
        found.append(f"{type_} is a {type_bits(type_)}-bit type, but {bits} bits were asked for.")
    if type_ and method and not method_has(method, type_):
        found.append(f"{type_} is no type of {method}.")
    if method and format_ and format_ != methods.of(method).format:
        own = methods.of(method).format
        found.append(f"{method} writes {_FORMATS.get(own, own)}, not {_FORMATS.get(format_, format_)}.")
    widths = sorted({kind.bits for kind in methods.of(method).types}) if method else []
    if widths and bits is not None and bits not in widths:
        *most, last = map(str, widths)
        listed = f"{', '.join(most)} or {last}" if most else last
        found.append(f"{methods.of(str(method)).title} quantizes to {listed} bits, not {bits}.")
    if slots.get("device") == "cpu" and slots.get("cpu_fallback") is False:
        found.append("The CPU is asked for and refused at once.")
    return tuple(found)


_FORMATS = {"gguf": "GGUF files"}
