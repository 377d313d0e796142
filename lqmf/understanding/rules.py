"""The rules: how people ask for each intent, in order. The first that matches decides; `intents` applies them.

Marks: `<m0>` a model, `<n0>` an artifact, `<p0>` a path.
"""

from __future__ import annotations

from dataclasses import dataclass

from lqmf.understanding.lexicon import METHOD, PROVIDER, SETTING, TYPE, uncaptured
from lqmf.understanding.patterns import Pattern


@dataclass(frozen=True)
class Rule:
    """One way to ask for `intent`; `name` is told to readers. The pattern is compiled when first needed."""

    intent: str
    name: str
    pattern: Pattern

    def matches(self, text: str) -> bool:
        """Return whether the sentence asks in this way."""
        return self.pattern.search(text) is not None


M, N, X = r"<m\d+>", r"<n\d+>", r"<[mnp]\d+>"
IT = (
    r"(?:\b(?:it|that(?! (?:fail\w*|work\w*|succe\w*|crash\w*|broke|i|we|you|are|were|have|had|went|made)\b)"
    r"|this|them|those|these|both|(?:the|that|this) (?:(?!failed|failing|broken|successful|succe|work)\w+ ){0,2}"
    r"(?:one|ones|model|artifact|result|quant|file|version|two"
    r"|(?:last|latest|first|second|previous|other)(?! (?:few )?(?:\d+ )?(?:commands?|requests?|sessions?|things?|steps?"
    r"|actions?|turns?|entries|days?|weeks?)\b)))\b)"
)
THING = rf"(?:{X}|{IT})"
MODELISH = rf"(?:<[mp]\d+>|{IT})"
IT_WORD = Pattern(rf"\b{IT}\b")

QUANTIZE_VERB = (
    r"(?:re)?quantiz(?:e|ing)|quant|compress|shrink|squeeze|convert|crunch"
    r"|slim down|downsize|reduce|transcode|lower the precision of|requant"
)

NOT_THE_CACHE = r"(?! (?:(?:the|its|my|only) )*(?:kv|k|v|keys?|values?|caches?)\b)"  # it is no model to be quantized

DOMAIN = Pattern(
    rf"{uncaptured(METHOD)}|{TYPE.pattern}|"
    r"\b(?:perplexity|ppl|kl|kld|divergence|imatrix|importance matri\w+|calibrat\w*|quant\w*|dequant\w*"
    r"|\d+[ -]?bits?|bits?|bpw|k[ -]?quants?|i[ -]?quants?|context|kv|cache"
    r"|v?ram|q?lora|adapters?|safetensors|group ?size|outliers?|fp\d+|bf16"
    r"|bfloat16|k_[sml]|suffix|float\d*|precision|tokens?|tokenizers?|receipts?|manifests?"
    r"|artifacts?|offload\w*|top-?1"
    r"|agreement|inference|flash attention|parameters?|weights|gated"
    r"|revisions?|temperature|embeddings?|attention|throughput|latency|gpus?"
    r"|cpus?|cuda|model cards?|models?|preflight"
    r"|sweeps?|finetun\w*|distill\w*|pruning|prune|sparsity|moe"
    r"|mixture of experts|rope|chat templates?|huggingface|act[ -]order"
    r"|desc_act|awq|exl2|exllama|hqq|aqlm|eetq|vllm|ollama"
    r"|llama\.cpp|cpu fallback|fallback|providers?|lqmf|memory|quality"
    r"|accuracy|llms?|formats?|language model|transformers?|checkpoints?"
    r"|compression|tensors?|gate|logits?|layers?"
    r"|double quant\w*|nested quant\w*|mixed|bandwidth|metal|speculative"
    r"|batch|rtn|gguf|scales?|zero[ -]point|smoothquant|mmlu|entropy"
    r"|types?|sizes?|\d+(?:\.\d+)?b"
    r"|i?q[1-8]|imatrix|quality loss|ngl|\w+_\w+|nvlink|pcie|ddr\d|noise floor|gpu layers|mmap"
    r"|mlock|threads?)\b"
)


def _rules(*table: tuple[str, str, str]) -> tuple[Rule, ...]:
    return tuple(Rule(intent, name, Pattern(pattern)) for intent, name, pattern in table)


_MINE = r"(?:my |the |all |our |any |all of my |all the |all my |your )?"
_THINGS = (
    r"(?:models?|artifacts?|quants?|quantizations?|experiments?|runs?|jobs?|outputs?|results?|versions?"
    r"|builds?|attempts?|ones?|conversions?|files?)"
)
_HF = r"(?:hf|huggingface|hub)"
_LLM = r"(?:llm|provider|ai|assistant|language model|adviser|advisor|backend|brain)"
_PROVIDER, _METHOD, _SETTING = (uncaptured(pattern) for pattern in (PROVIDER, METHOD, SETTING))
WITH_MODEL = "chooses an LLM provider, and names its model"
_ADVISES = r"(?:provider|adviser|advisor|llm)"
_NO_QUANTIZATION = r"(?!.*\b(?:quantiz\w*|convert\w*|compress\w*|gguf|gptq|bnb|i?q\d\w*|\d ?bits?)\b)"

# ---------------------------------------------------------------- the rules

ENDS_A_JOB = "ends a job"
_RUNNERS = (
    r"(?:ollama|lm ?studio|llama\.cpp|llama-server|llama-cli|koboldcpp|kobold|jan|gpt4all|open ?webui|oobabooga"
    r"|text[ -]generation[ -]webui|llamafile|vllm|msty|anythingllm|sillytavern|llama-cpp-python|transformers)"
)
_OF_A_JOB = (
    r"(?! (?:back|the (?:chat|session|program)|to|method|quantizing with|using))(?: (?:it|that|this|everything|all|now"
    r"|please|there|right|away|the|my|current|running|job|jobs|run|quantization|task|whole|thing|download|last|request"
    r"|anymore|any|more|at|once|what|you|are|doing|for|about|process|work|plan|conversion|mission|operation|immediately"
    r"|ok|okay|again|then|benchmark|test|training|sweep|finetune|deletion|delete|deleting|instead)\b)*+[\s!.,?]*$"
)

COMMANDS = _rules(
    (
        "exit",
        "a word of leaving",
        r"^(?:(?>(?:bye|goodbye)\b.{0,20}$|(?:exit|quit|leave|close|shut down)"
        r"(?: (?:out|of|the|this|lqmf|chat|session|program|app|application|tool|shell|prompt|conversation|now|then"
        r"|again))*"
        r"|(?:end|stop|terminate) (?:the |this )?(?:lqmf|chat|session|program|app|application|tool|shell"
        r"|conversation)(?: now)?"
        r"|bye(?:[ -]?bye)*|good[ -]?bye|see (?:you|ya)(?: (?:later|soon|tomorrow|around|next time|then))?|q|:q!?|cya"
        r"|later"
        r"|i am (?:done|finished|off|out|leaving|going)(?: (?:here|now|for (?:today|now|the day)|with (?:this|lqmf)))?"
        r"|(?:that is|that was|that will be|this is) (?:all|it|everything)"
        r"(?: (?:i (?:need(?:ed)?|want(?:ed)?)|for (?:today|now|me|the day)|from me))*"
        r"|(?:get|let) me out(?: of here)?|ciao|good night|so long|farewell|take care|have a (?:good|nice|great) \w+"
        r"|(?:i (?:have )?)?(?:got to|gotta|must|have to|need to) (?:go|run|leave)(?: now)?|i am going to (?:go"
        r"|leave|bed)"
        r"|(?:we are|all|i am all) done(?: (?:here|for (?:today|now)))?|nothing (?:else|more)|out(?: of here)?"
        r"|(?:i )?(?:want|would like|need) to (?:quit|leave|exit)|call it a (?:day|night)|until (?:next time|tomorrow)"
        r")[\s!,.]*+)++$",
    ),
    (
        "help",
        "asks what can be done",
        r"^(?:help(?: me)?(?: please)?|\?+|h|commands|usage|man|help (?:with|on|about|for|me with"
        r"|me to)?.{0,40}|what(?: \w+)? (?:can|could) (?:you|i|lqmf|we|this(?: \w+)?|it|one)(?: \w+)?"
        r" (?:do|say|type|ask|help)(?: (?!<)\w+){0,4}"
        r"|how (?:do|does|can|should|would|to)(?: (?:i|this|you|lqmf|one|we|it|the (?:tool|program|chat"
        r"|app)))?(?: (?:tool|program|thing|stuff|even|actually))*"
        r" (?:use|start|begin|work"
        r"|operate)(?: (?:this|you|lqmf|it|with|the|program|tool|chat|thing|app))*(?: \w+)?"
        r"|(?:what|which) (?:are |is |other )*(?:there |the |your |all |my |available |possible )*(?:commands?|options"
        r"|features|capabilities|possibilities|functions)(?: (?:\w+ ?){0,4})?|(?:list|show|give|tell)(?: me)? (?:all "
        r"|of |the |available |your |a |an |list |overview |what )*(?:commands|options|help|features|usage|examples)"
        r"(?: (?!<)\w+){0,3}|(?:i |we )?(?:need|want|could use|would like|require) (?:some |a bit of |a little |your )?"
        r"(?:help|assistance|guidance)(?: (?!<)\w+){0,3}"
        r"|i am (?:lost|stuck|new(?: (?:here|to (?:this|lqmf)))?|confused|a beginner|clueless)"
        r"|(?:where|how) (?:do|should|can) i (?:start|begin)(?: from)?"
        r"|i (?:do not know|have no (?:idea|clue)) .{0,40}|what now|getting started|how to|instructions|manual"
        r"|how (?:do|can|should) (?:i|we) get (?:started|going)|what am i supposed to \w+(?: here| now)?"
        r"|(?:give me |show me |tell me )?(?:a |the )?(?:list of )?(?:the )?(?:things|stuff|what) (?:that )?(?:you"
        r"|i|lqmf|this)(?: \w+)?"
        r" can (?:do|ask|say)(?: \w+)?|what (?:sort|kind|kinds|sorts|type|types) of (?:things|questions|commands"
        r"|stuff) .{0,30}"
        r"|(?:explain|show|tell|remind|teach)(?: me)? how (?:to|do i|i) (?:use|work with|operate) (?:this|lqmf|it"
        r"|the)(?: \w+)?|halp"
        r"|what (?:do|should|can) i (?:do|type|say|enter|write)(?: (?:now|here|next|first))?|tutorial|guide(?: me)?"
        r"|(?:some |a little |a bit of )?help(?: \w+)?|(?:please )?assist(?: me)?|(?:a )?list of (?:the )?commands"
        r"|(?:introduce|explain) (?:yourself|this (?:tool|program)|the commands))[\s?!.]*$",
    ),
    ("clear", "asks for an empty screen", r"^(?:clear|cls|wipe)(?: (?:the )?(?:screen|terminal|chat|window))?[\s.!]*$"),
    (
        "list",
        "asks what runs",
        r"^(?:ps|top|jobs)[\s?.!]*$|^(?:what|which jobs?|(?:is|are|show|list)(?: me)?(?: there)? (?:any|some|all|my"
        r"|the)?"
        r"(?: ?(?:thing|jobs?))?) ?(?:is |are )?(?:still )?(?:running|going on)"
        r"(?: jobs?)?(?: (?:right )?now| here| at the moment)?[\s?.!]*$",
    ),
    (
        "publish",
        "asks to publish",
        rf"^(?!.*\b(?:{QUANTIZE_VERB})\b)(?:.*?)\bpublish\b(?!.*\b(?:api|server|endpoint)\b)"
        rf"|^(?!.*\b(?:{QUANTIZE_VERB})\b)(?:.*?)\b(?:upload|push|share|put|post|release"
        rf"|send)\b[^.;<]*(?:{THING})?[^.;<]*\b(?:to|on|onto|at|with)"
        rf" (?:the |my )?{_HF}\b(?![^.;]*\b(?:token|login)\b)|^upload\b",
    ),
    (
        "show",
        "asks how to run it, or where it is",
        rf"^how (?:do|can|could|should|would|to|might|am)(?: (?:i|we|one|you))?(?: (?:now|then|actually|even))*"
        rf" (?:(?:run|load|start|launch|open|try)\b(?: out)?(?!.*<m)|(?:use|talk to|chat with) (?=(?:{N}|{IT})))[^<]*"
        rf"(?:{N}|\b{IT}\b)(?![^.;]*\b\d ?gb\b)"
        rf"|^(?!.*\b(?:{QUANTIZE_VERB})\b)(?:.*?)\b(?:open|load|run|use|import|start|try|get|put)\b[^.;<]*(?:{N}"
        rf"|{IT})[^.;<]*"
        rf" (?:in|with|into|on|from|to|inside|via|under) {_RUNNERS}\b"
        rf"|\bwhere (?:is|are|do i find|can i find|did (?:you|it|that|they)|does|has|will|have you"
        rf"|lies?)\b(?! (?:all )?(?:my|the|your) \w+s\b)"
        r"[^.;<]*"
        rf"(?:{N}|\b{IT}\b|\b(?:file|model|result|output|gguf|artifact|folder|path|save|stored?|put|go|end up|land)\b)"
        r"(?![^.;]*\b(?:config|settings?|token|logs?)\b)"
        rf"|\b(?:command|line|path|location)(?: line)? (?:to (?:run|start|use|load|open)|of|for|to) (?:{N}|\b{IT}\b)"
        r"|^show (?:me )?(?:the |my )?(?:last|latest|newest|most recent)(?: (?:one|result|artifact|model))?[\s.!?]*$",
    ),
    (
        "doctor",
        "asks about the set-up",
        r"^(?:doctor|diagnos\w+|(?:system |health |self |sanity )?check[ -]?(?:up)?)\b(?! .*<)"
        rf"(?!.*\b(?:{_HF}|login|token|llm|provider|claude|openai|gemini|ollama|integrity|checksums?|hash(?:es)?"
        rf"|it|them"
        r"|that|log|history|jobs?|runs?|config|settings?|quality|speed|stats|statistics)\b)[^<]{0,60}$"
        r"|\b(?:does|do|will) (?:my |the |this )(?:gpu|graphics card|cuda|setup|set-up|install\w*|system|machine"
        r"|driver)s?"
        r" (?:even |actually )?(?:work|function|run)\b"
        r"|\b(?:something|anything|everything|what) (?:is|seems|looks|might be) (?:broken|wrong|off|missing"
        r"|not working)"
        r"(?: (?:with|in|on))? (?:my|the|this|here)\b"
        r"|\b(?:setup|set-up|install(?:ation)?|environment) (?:is |seems |looks )?(?:broken|wrong|not working|ok"
        r"|okay|fine)"
        r"|\bwhy (?:is|does|can) not\b.{0,12}\b(?:gpu|cuda|graphics card|llama\.cpp|torch)\b"
        r"|\b(?:which|what) (?:gpus?|graphics cards?|hardware|cpus?) (?:do you (?:see|detect|find|use)"
        r"|is (?:detected|found|used|seen)"
        r"|can you (?:see|use))\b|\b(?:which|what) (?:tools?|packages?|dependencies|librar\w+|software) (?:is|are"
        r"|do)\b[^<]{0,20}"
        r"\b(?:missing|installed|needed|need)\b|\bis (?:my|this) (?:computer|pc|machine|laptop|hardware|system"
        r"|setup) (?:good|ok|fast"
        r"|powerful|strong|big) enough(?: (?:for (?:this|it|lqmf|that)|to (?:run|use) (?:this|lqmf|it)))?[\s?]*$"
        r"|^how (?:much|many) (?:free |total |gpu |system )*(?:v?ram|memory|disk space|cores|gpus?|cpus?)"
        r" (?:do (?:i|we) have|have i got|does (?:my|this|the) \w+ have|is (?:free|available|there|left"
        r"|installed))[^<]*$"
        r"|\bis (?:py)?torch|\bis [\w.-]+ installed\b"
        r"|\bwhy (?:is|does|can)\b.{0,12}\b(?:gpu|cuda|graphics card|llama\.cpp|torch)\b.{0,12}\bnot\b"
        r".{0,12}\b(?:found|detected|seen|work\w*|recogni[sz]ed|used|available)\b"
        r"|\b(?:run (?:the |a )?(?:doctor|diagnos\w+|health check|self[ -]?test|system check)|(?:check"
        r"|diagnose|inspect|examine|verify)(?: that| if| whether)? "
        + _MINE
        + r"(?:whole )?(?:setup|set-up|set up|system|installation|install|environment|machine|hardware|toolchain"
        r"|dependencies|computer|pc|drivers?|everything is|everything works)\b"
        r"|is my (?:(?:graphics )?card|gpu|cpu|processor|pc|laptop|machine|computer|hardware) (?:any good|good|ok"
        r"|okay|fine"
        r"|fast|supported|enough|up to)\b[^<\d]{0,25}\??$"
        r"|what(?: kind of)? (?:hardware|gpus?|cpus?|machine|graphics) (?:do (?:i|we) have|have i got"
        r"|is (?:there|in here|this|available|installed)|am i (?:on|running))"
        r"|is (?:my |the |everything |this )(?:setup|set-up|installation|install|environment|everything"
        r"|machine|system|gpu|hardware)?\s?(?:ok|okay|fine|working|correct|complete|installed|set up|healthy"
        r"|ready|configured|in order|detected|recogni[sz]ed)(?: \w+)*\??$"
        r"|is (?:cuda|the toolchain|llama\.cpp|torch|my gpu|the gpu) (?:installed|working|available|found"
        r"|detected|ready|ok|there|set up|recogni[sz]ed)"
        r"|(?:is|are|what is) (?:anything|something|things|there anything) (?:missing|wrong|broken) (?:with|in"
        r"|on|from) (?:my|the|this|here)(?: \w+)*"
        r"|what is (?:missing|wrong) (?:with|on|in) (?:my|this|the) (?:setup|set-up|install\w*|machine|system"
        r"|computer|environment)"
        r"|(?:do i|did i) have everything(?: i need| installed)?|health check"
        r"|(?:do|can) you see my (?:gpu|graphics)"
        r"|what is (?:my|this) (?:hardware|gpu|cpu|machine|system)\b(?!_| memory| fallback)"
        r"|(?:show|list|tell)(?: me)? (?:my |the |what )?(?:hardware|system info\w*|gpu info|machine info"
        r"|versions))",
    ),
    (
        "demo",
        "asks for the demo",
        r"^(?:(?:run|start|show(?: me)?|give(?: me| us)?|play|do|try|launch|see|i want to see|open|begin|have|get|make"
        r"|is there|do you have|want|need|how about|what about|watch)(?: \w+)?\s)?"
        r"(?:the |a |an |your |quick |short |little |lqmf |built-in |bundled |offline |live )*"
        r"demo(?: (?:run|now|then|please|mode|again|time|start|this|it|for me|for us|starting|first|of (?:this"
        r"|lqmf|it)))*[\s!.?]*$"
        r"|^show me (?:how (?:it|this|lqmf) works|what (?:you|it|lqmf|this) can do)(?: \w+){0,4}[\s!.?]*$",
    ),
    (
        "hf_logout",
        "logging out",
        r"^hf logout|\blogout\b"
        r"|\b(?:forget|remove|delete|clear|revoke|drop|erase) (?:my |the |saved |stored "
        rf"|cached )*(?:{_HF} )?(?:token|credentials?|login|account)\b"
        rf"|\bdisconnect (?:me |my account )?(?:from )?(?:the )?{_HF}",
    ),
    (
        "hf_status",
        "asks about the Hugging Face account",
        rf"^(?:is|are) (?:the |my )?{_HF}(?: account)? (?:connected|login|set up|linked|working|ok|authenticated"
        rf"|logged ?in)\b"
        r"|^hf (?:status|whoami|who am i|account|user|me)\b|^whoami$"
        r"|\b(?:am i|are we|is (?:my|the)(?: \w+)?|i am|check (?:if|whether) (?:i am)?|whether i am|if i am"
        r"|still) (?:\w+ )?(?:logged ?in|login|connected|authenticated|signed ?in)\b"
        rf"|\bwho am i\b(?! talking| speaking)|\bmy {_HF} (?:user ?)?name\b|\b{_HF} user ?name\b"
        rf"|\b(?:which|what|whose) (?:{_HF} )?(?:account|user|token|login)\b.*(?:{_HF}|am i|login|is (?:used"
        r"|active|set|this)|do i|using|logged)"
        rf"|\b{_HF} (?:account|login|token|auth\w*|session|connection|user)?\s?(?:status|state|info|valid"
        rf"|working|ok)\b|\bstatus of (?:my |the )?{_HF}\b"
        rf"|(?<!here )\b(?:is|does) my (?:{_HF} )?token\b"
        rf"|\b(?:is|was) (?:there )?(?:anyone|somebody|someone|any account|an account) (?:login|connected|logged ?in)\b"
        rf"|\b(?:do i have|is there|have i (?:got|set)) an? (?:{_HF} )?token\b"
        rf"|\b(?:show|check|verify)(?: me)? (?:my |the )?(?:{_HF}) (?:account|login|token|status|user|auth\w*"
        rf"|connection)"
        rf"|\blogin status\b|(?<= )login (?:on|to|at|with) {_HF}\?$"
        rf"|\bam i .*\b{_HF}\b.*\?$",
    ),
    (
        "hf_login",
        "logging in",
        r"^(?:hf )?login\b|(?<!need a )(?<!needs a )(?<!require a )(?<!requires a )(?<!require )\blogin\b(?! status)"
        rf"|\bset ?up (?:my |the |a )?{_HF}(?: account| access| token)?\b|\blink (?:my )?{_HF}"
        r"|\b(?:connect|authenticate|auth)(?: me| my account| myself)?(?: with| to| at| on| against)?(?: the"
        rf"| my)? {_HF}\b"
        r"|\b(?:set|add|enter|save|store|use|update|change|give you|here is|provide|register|paste) (?:my "
        rf"|the |a |an |new )*(?:{_HF} )(?:\w+ )?(?:token|account|credentials?|key)\b"
        r"|\b(?:set|add|enter|save|store|provide|paste) (?:my |a |the |new )+(?:access )?token\b"
        rf"|\b{_HF} (?:auth|token)$",
    ),
    (
        "llm_status",
        "asks for the provider's status",
        r"^(?!config|set )[^<]*\b(?:llm|provider|ai|adviser|advisor)(?: provider)?(?:'s)? (?:status|connection"
        r"|state)\b",
    ),
    (
        "config",
        "about a setting",
        r"^(?:config|configuration|settings?|configure|preferences)\b(?! file)|\b(?:change|edit|adjust|modify"
        r"|set) (?:a|some|one|another) settings?\b"
        r"|\b(?:show|list|see|print|display|edit|change|open|view)(?: me)? "
        + _MINE
        + r"(?:current )?(?:config|configuration|settings|preferences)\b"
        r"|\bwhat (?:are|is) (?:my|the) (?:current )?(?:settings|config\w*)"
        r"|\b(?:set|change|switch|turn|put|raise|lower|increase|decrease|enable|disable|update|make|adjust"
        r"|bump|reset|move|limit|cap|show|get|what is|what are|tell me|which|see|read|print|display"
        r"|how (?:many|much|high)|is|where (?:is|are)|what value|which value)\b.{0,30}?"
        + _SETTING
        + r"|^"
        + _SETTING
        + r"(?:[ :=]+\S+){0,3}\??$|\bset [a-z]+(?:_[a-z]+)+ (?:to|=)"
        r"|\b[a-z]+(?:_[a-z]+)+ in (?:the |my |your )?(?:config|configuration|settings)\b"
        r"|\b(?:storage|store)\b.{0,15}\b(?:json|sqlite)\b"
        r"|\b(?:use|switch to|change to) (?:the )?(?:json|sqlite)(?: (?:storage|backend|store))?\b",
    ),
    (
        "llm_status",
        "asks about the LLM provider",
        r"^(?:which|what) (?:llms?|providers?|ais?|assistants?) (?:are there|exist|are available|can i use"
        r"|are supported"
        r"|do you (?:know|support|have))[\s?]*$|^llm(?: (?:status|test|info|provider|providers|state|check|ping"
        r"|list))?[\s?]*$"
        r"|^llm (?:status|test)\b"
        rf"|\b(?:which|what|whose) (?:\w+ )?{_LLM}s?\b(?! .*\bfor\b)(?: (?:is|are|am|do|does|did|you|we|i|it"
        rf"|lqmf|currently|being|now|right|the)){{0,4}}(?: (?:active|using|used|use|configured|set|on|in use"
        r"|selected|running|available|connected|talking to|current|now|enabled|answering|works?|my"
        r"|have))*[\s?]*$"
        r"|\b(?:is|are) (?:my |the |an? |any )?(?:claude|anthropic|openai|gemini|ollama|chatgpt|google"
        rf"|{_LLM}s?|local (?:llm|model|provider))(?: api)?(?: \w+)? (?:active|configured|set(?: up)?|on|in use"
        r"|selected|connected|reachable|working|available|ready|responding|up|online|alive|enabled|there|used"
        r"|running|installed|ok"
        r"|answering)\b"
        r"|\b(?:test|check|ping|try|verify)(?: me)? (?:the |my |if |whether )*(?:connection (?:to"
        rf"|with) (?:the |my )?)?(?:claude|anthropic|openai|gemini|ollama|chatgpt|{_LLM})(?: (?:connection|api"
        r"|key|is|works?|provider|status|working|reachable|responds?|link|again|now|then))*[\s?.!]*$"
        r"|\b(?:llm|provider|ai) (?:status|connection|state)\b"
        rf"|^(?:are|is) (?:you|this) (?:an? )?(?:{_PROVIDER}|llm|ai|language model|gpt)\b(?![^<]*\b(?:fit|run)\b)"
        rf"|^(?:do|have) (?:you|we|i) (?:have|got|use) (?:an? |any )?(?:{_LLM}|{_PROVIDER})(?: \w+)?[\s?]*$"
        rf"|\b(?:does|is|do) (?:the |my )?(?:{_PROVIDER})(?: api)? (?:key|connection|account|token)s? (?:work|ok"
        rf"|valid|set|function)\w*"
        r"|^(?:are|is) (?:you|we|it|lqmf)(?: \w+)? (?:using|on|running on|powered by|talking to|connected to"
        r"|asking)\b[^<]*"
        rf"(?:{_PROVIDER}|{_LLM})"
        rf"|\b(?:which|what|whose) (?:\w+ )?(?:{_LLM}|model) (?:are you|do you|is (?:behind|powering|driving"
        rf"|running))\b"
        r"[^<]{0,40}$"
        r"|\bstatus of (?:my |the )?(?:llm|provider|ai)\b"
        r"|\bwho am i (?:talking|speaking)\b|\bwho is (?:answering|advising|the provider|my provider|behind)\b"
        r"|\bam i (?:using|on|connected to|talking to) (?:claude|anthropic|openai|gemini|ollama|chatgpt"
        r"|an? llm|a local)\b"
        rf"|\bwhat is (?:my|the|your) (?:current |active )?{_LLM}\b(?! for)",
    ),
    (
        "llm_switch",
        WITH_MODEL,  # "use qwen3 in ollama as the provider"
        rf"^{_NO_QUANTIZATION}.*\b{_PROVIDER}.*\bas (?:the |my |your |our |an? )?(?:llm )?{_ADVISES}\b"
        rf"|^{_NO_QUANTIZATION}.*\b(?:ask|get|take|want)\b.*\b{_PROVIDER}.*\bfor (?:advice|advising|the planning)\b"
        rf"|^{_NO_QUANTIZATION}.*\b(?:get|take|want) advice from\b.*\b{_PROVIDER}",
    ),
    (
        "llm_switch",
        "chooses an LLM provider",
        r"^llm (?:switch|use|set|change)\b"
        r"|\b(?:switch|change|swap|move|go|use|using|let|try|set|make|activate|select|choose|pick|prefer"
        r"|talk to|connect to|ask|want|take|enable|default to|rely on|flip|hop|work with|back to|over to"
        rf"|i would like|give me)\b(?: (?:over|back|to|the|my|a|an|with|on|from \S+ to|{_LLM}|llm provider|me"
        rf"|us|be|is|as|model|instead|it|now|your)\b)*+:? {_PROVIDER}(?! (?:model )?(?:<"
        r"|format))(?![^.;,]*\b(?:quantiz|gguf|gptq|bits?)\b)"
        rf"|\b(?:switch|change|swap) (?:the |my |to another |to a different )?(?:{_LLM}|llm provider)\b"
        rf"|^{_PROVIDER}(?: (?:please|now|instead|then|again|this time))*[\s.!]*$"
        rf"|\b{_PROVIDER} (?:as|for) (?:the |my |your )?(?:{_LLM})\b"
        rf"|\b(?:have|let|get|make|want) {_PROVIDER} (?:answer|help|advise|do|plan|decide|think|take|handle|reply|to)"
        rf"|\b{_PROVIDER} should (?:be|do|help|answer|advise)"
        rf"|\b(?:local|llama|own) (?:\w+ )?server\b[^<]*\b(?:as|be) (?:the |my |your )?{_LLM}\b"
        rf"|\b{_LLM} (?:is|shall be|should be|will be|must be)(?: now)? (?:an? |my |the )?(?:\w+ )?{_PROVIDER}"
        rf"|\b{_PROVIDER}\S* is (?:now )?(?:the|my|our|your) (?:llm )?{_ADVISES}\b|\b{_ADVISES} ?[=:] ?{_PROVIDER}",
    ),
    (
        "cancel",
        ENDS_A_JOB,
        r"^(?:(?:please |just |no )*(?:cancel|abort|stop|halt|kill (?:it|(?:the|that|this|my) (?:\w+ )?(?:job|run"
        r"|task))"
        r"|terminate|interrupt|(?:i |we )?(?:(?:have )?changed (?:my|our) minds?|do not want (?:it|that"
        r"|this) any ?more),?"
        rf" (?:cancel|stop|abort)))\b{_OF_A_JOB}"
        r"|^(?:please )?(?:cancel|abort|stop) (?:the |my |that |this )?(?:\w+ )?(?:job|run|quantization"
        r"|download|task|conversion|sweep|training|process)\b",
    ),
    (
        "cancel",
        "calls it off",
        r"^(?:cancel|stop|abort|halt|wait|never ?mind)\b[ ,.!-]+[^<]*\b(?:chang\w+|mind|no longer|later"
        r"|wrong|bad idea|mistake|forget|leave)\b"
        r"(?: (?:my|it|this|that|mind|about|one|idea|model|now|for)\b)*+[\s.!]*$"
        r"|^(?:(?:please |just |no )*(?:never ?mind|nvm|forget (?:it|that|about it|this)"
        r"|undo(?: (?:that|it|this))?|scratch that|drop it|leave it"
        r"|nah,? (?:forget|leave|drop|cancel).*|back|go back|not now|do not(?: do (?:it|that|this))?"
        r"|do not bother|let us not|changed? my mind|i (?:have )?changed my mind|i (?:do not"
        r"|no longer) (?:want|need) (?:it|that|this|to)(?: any ?more)?|on second thou?ghts?,? (?:no|cancel"
        r"|stop|leave|forget|do not|never).*|call it off|quash it|discard (?:it|that|this)|skip it|scrap (?:it"
        rf"|that)))\b{_OF_A_JOB}",
    ),
    (
        "resume",
        "takes up interrupted work",
        r"^(?:resume|unpause)\b"
        r"|\b(?:resume|continue|restart|pick up|carry on(?: with)?|take up|finish|go on with|recover|complete"
        r"|keep going with|proceed with|retry)\b (?:with |from )?(?:the |my |that |where |last "
        r"|again )*(?:interrupted|unfinished|stopped|killed|paused|broken|aborted|failed|crashed"
        r"|half[ -]?(?:done|finished)|incomplete|previous|cancelled|canceled|last|download|job|jobs|run|task"
        r"|work|(?:where )?(?:we|i|you|it) (?:left|stopped|broke|were|was))\b"
        r"|\b(?:continue|resume|finish|complete|restart)\b.*\b(?:was|were|got|is|been) (?:interrupted|stopped"
        r"|cut off|killed|aborted"
        r"|paused|broken)\b"
        r"|^(?:continue|carry on|keep going|pick up where .*)[\s.!]*$"
        r"|\bpick (?:it |that |things )?up (?:again|where)\b"
        r"|\b(?:left|broke) off\b|\b(?:interrupted|unfinished|paused|stopped) (?:job|run|task|work|download)\b.*"
        r"\b(?:continued|resumed|finished|picked up|completed)\b",
    ),
)

ACTIONS = _rules(
    (
        "adapters",
        "about adapters",
        r"^adapters?\b"
        r"|\b(?:list|show|merge|attach|apply|load|unload|remove|delete|which|what|manage|switch|use|export"
        r"|combine|detach|see|have|stack|fuse|mount|install|activate"
        r"|bake)\b[^.;]{0,40}\b(?:q?lora )?(?:adapters?|loras?)\b(?! training)"
        r"|\b(?:my|the|any|available|trained) (?:q?lora )?(?:adapters|loras)\b",
    ),
    (
        "finetune",
        "names finetuning",
        r"^(?:q?lora|train)\b|(?<!my )\bfinetun(?:e|ing)\b(?! (?:work|mean))"
        r"|\b(?:train|teach|adapt|specialis\w*|specializ\w*|retrain) (?:a |an |the |my "
        rf"|up )?(?:q?lora (?:adapter )?(?:for |on |of )?)?(?:{THING})"
        r"|\btrain (?:a |an )?(?:q?lora|adapter)\b"
        r"|\b(?:q?lora|adapter) (?:training|run)\b"
        r"|\b(?:start|launch|do|run) (?:a |the )?(?:training|q?lora)\b",
    ),
    (
        "sweep",
        "names a sweep",
        r"\b(?:sweep(?:s|ing)?|grid(?: search)?)\b(?! mean)"
        r"|\b(?:try|quantiz(?:e|ing)|run|convert|make|test|explore|go through|loop over|do|build|produce|scan"
        r"|step)\b[^.;]*\b(?:all|every|each|several|various|different|many|a range of|the whole range of"
        r"|multiple|a bunch of)(?: of)?(?: the)?(?: possible| available| k-?quant| supported| gguf"
        r"| llama\.cpp)? (?:types?|quants?|bit[ -]?widths?|bits|methods?|k-quants?|levels|precisions?|settings"
        r"|variants?|combinations?|sizes?|quantizations?|formats)\b"
        r"|\btry\b[^.;]*\b\d(?: bits?)?, ?\d"
        r"|\b(?:from|between) \d(?:[ -]?bits?)? (?:to|through|and|up to|down to) \d[ -]?bits?\b"
        r"|\bacross\b[^.;]*\bbits?\b"
        r"|\b(?:at|in|over|with|to) \d(?: bits?)?, \d[^.;]*\bbits?\b",
    ),
    (
        "report",
        "names a report",
        r"^report\b"
        r"|\b(?:make|create|write|generate|build|give|produce|export|render|draw|get|show|want|need|prepare"
        r"|compile|i would like|put together|do|send|include|put|add)\b(?! .*\bmodel card)[^.;]{0,30}\b(?:reports?"
        r"|charts?"
        r"|plots?|graphs?|dashboards?|web ?page|overview page)\b"
        r"|\b(?:html|pdf) (?:report|page|file|summary|overview)\b"
        r"|\breport (?:on|of|about|for)\b|\b(?:plot|chart|visuali[sz]e|graph)\b",
    ),
    (
        "docs",
        "names the model card",
        r"^docs?\b|\bmodel[ -]?cards?\b(?! mean)|\bread ?me\b"
        rf"|\b(?:documentation|docs|document|documenting)\b[^.;]*{THING}"
        rf"|\b(?:write|generate|create|make|update|refresh|produce|regenerate)\b[^.;]{{0,20}}\b(?:documentation"
        r"|docs|card)\b",
    ),
    (
        "rebuild",
        "asks to make it again",
        r"\b(?:rebuild|re-build|remake|recreate|regenerate|reproduce|reconstruct"
        rf"|reconvert)\b(?=[^.;]*(?:{THING}|$))|\bredo (?:the )?{N}"
        rf"|\b(?:build|make|create|produce|generate)\b[^.;]*(?:{N}|{IT})[^.;]*\b(?:again|anew|afresh|once more"
        r"|from scratch|from (?:its|the) manifest)\b"
        rf"|\bfrom (?:its|the|their) manifests?\b|\b(?:build|make) {N} again",
    ),
    (
        "verify",
        "asks to check what is on disk",
        r"^verify\b"
        rf"|\bverif(?:y|ying|ication)\b(?! (?:my|the) (?:setup|install\w*|environment))[^.;]*(?:{THING}|$)"
        r"|\b(?:check|validate|confirm|recompute|compute|compare|test|audit|examine"
        rf"|inspect)\b[^.;]{{0,30}}\b(?:hash(?:es)?|checksums?|sha-?256|integrity|files? (?:are|is)|intact"
        r"|corrupt\w*|signatures?|manifest)\b"
        rf"|\b(?:is|are|was|were)\b[^.;]*(?:{THING}|files)[^.;]*\b(?:intact|corrupt\w*|tampered|damaged"
        r"|unchanged|modified|altered|bit-?rot\w*|untouched|undamaged)\b"
        rf"|\b(?:integrity|checksums?|hash(?:es)?)\b[^.;]*(?:{THING})"
        r"|\b(?:hash|integrity|checksum) (?:check|verification)\b"
        rf"|\b(?:did|has|have)\b[^.;]*(?:{THING})[^.;]*\b(?:change|changed|tampered|corrupt\w*|altered|modified"
        rf"|damaged|rotted)\b"
        rf"|\bmake sure\b[^.;]*(?:{THING})[^.;]*\b(?:intact|not corrupt\w*|ok|not damaged|unchanged|complete)\b",
    ),
    (
        "delete",
        "asks to delete",
        r"^(?:delete|rm|remove|erase|del|trash|purge|wipe|uninstall|unlink)\b(?!.*\bcomparison)"
        r"|\b(?:delete|remove|erase|get rid of|throw (?:away|out)|trash|wipe|purge|dispose of|nuke|kill|axe|zap|discard"
        r"|clear (?:out|away)|bin|dump|ditch|toss|scrap|clean up|drop|throw"
        rf"|chuck)\b(?!.*\bcomparison)[^.;]{{0,40}}?(?:{THING}|{X}|all (?:my |the )?(?:models|artifacts|failed"
        r"|quants)|everything|failed (?:runs|jobs|ones))"
        rf"|\bi (?:do not|no longer) need {X}(?: any ?more)?\b"
        rf"|\bfree (?:up )?(?:some )?(?:disk )?space\b[^.;]*{THING}"
        rf"|{THING}[^.;]{{0,20}}\b(?:(?:can|must|should|may|could|has to) be (?:deleted|removed|erased|thrown)"
        rf"|can go|must go|has to go|should go)\b",
    ),
    (
        "compare",
        "asks to compare",
        r"^compare\b|\bcompar(?:e|ing|es|ed|ison)\b"
        rf"|\b(?:{N}|{IT})(?: (?:vs\.?|versus|against|or|and) )(?:{THING})[\s?]*$"
        rf"|\b(?:difference|diff|differences)\b[^.;]*{N}[^.;]*{X}"
        rf"|{N}[^.;]*{X}[^;]*\b(?:better|best|faster|fastest|smaller|smallest|worse|wins?|higher|lower|bigger|larger)\b"
        rf"|\b(?:better|best|faster|smaller|worse|bigger|larger|more accurate)\b[^.;]*{N}[^.;]*{X}"
        r""
        rf"|\b(?:which|what)(?: one| of (?:them|these|those|the two|{N} (?:and|or) {N}))? (?:is|was|are|has"
        r"|performs|does|scores"
        rf"|runs|one)\b[^.;]*{N}[^.;]*{X}|{N} (?:against|vs\.?|versus) "
        rf"|\b(?:is|are|was) {N} (?:nearly |almost |just )?as (?:good|fast|small|big|accurate|\w+) as"
        rf"|\b(?:is|are) {N} (?:any )?(?:better|worse|faster|slower|smaller|bigger|more \w+) than"
        rf"|\b(?:put|set|place|line up|hold|weigh|pit|rank|match)\b[^.;]*(?:{THING})[^.;]*(?:side by side"
        r"|next to|against|beside)|\bside[ -]by[ -]side\b"
        rf"|\bhow (?:does|do|did) {THING}[^.;]*(?:stack up|measure up|differ|fare|hold up)\b[^.;]*(?:{THING}|$)"
        r"|\bwhich (?:one |of (?:them|the two|these|those) )?(?:is|was|performs|does) (?:\w+ )?(?:better"
        r"|faster|smaller|best|more accurate|worse)\b(?=[\s?]*$)",
    ),
    ("llm_status", "tests the provider", r"\bllm (?:status|test)\b"),
    (
        "serve",
        "asks for a server",
        r"^(?:serve|api|host|expose|deploy)\b"
        rf"|\b(?:serve|serving|host|expose|deploy)\b[^.;]*(?:{THING}|api|server|endpoint|port|\bhttp\b"
        r"|models?)"
        r"|\b(?:start|run|launch|open|spin up|fire up|bring up|boot|stop|put|make|provide|need|want|stand up"
        rf"|set up|create)\b[^.;]{{0,45}}\b(?:api(?! key)|rest|server|endpoint|web ?service"
        r"|openai[ -]compatible|http)\b"
        r"|\b(?:over|as|via|through|behind|on) (?:an? |the )?(?:openai[ -]?(?:compatible )?|rest |http |local "
        r"|web )?(?:api|endpoint|http|server|port \d+)\b"
        r"|\b(?:api|server) (?:status|keys?)\b|\bapi serve\b"
        r"|\bmake\b[^.;]*available\b[^.;]*(?:api|http|network|port|endpoint)"
        r"|\bis the (?:api|server) (?:up|running|on|alive|down)",
    ),
    (
        "experiment",
        "asks to experiment",
        rf"\bexperiment(?:ing)?\b(?!s\b)(?=(?:[^.;]*(?:{THING}|prompts?|temperature|settings|sampling"
        r"|\bwith\b))|[\s.!]*$)"
        rf"|\b(?:play|tinker|fiddle|mess|toy)(?: around| about)? with\b[^.;]*(?:{THING}|temperature|prompts?"
        r"|sampling|settings)"
        rf"|\b(?:try|test|run|vary|explore|compare|a/b)\b[^.;]{{0,40}}\b(?:prompts?|temperatures?|sampling"
        r"|top[-_ ]?[pk])\b"
        r"|\b(?:at|with|using) (?:a )?(?:\w+ )?(?:temperatures?|top[-_ ]?[pk]|sampling)\b"
        r"|\btry out (?:some |a few |different |various )?prompts",
    ),
    (
        "chat",
        "asks to chat",
        r"^chat\b"
        r"|\b(?:chat|talk|speak|converse|conversation|converse|discuss|interact|dialog(?:ue)?|gossip)(?:ting"
        rf"|ing)?\b[^.;]{{0,30}}\b(?:with|to)\b|\bask (?:{THING}) \w+"
        r"|\b(?:open|start|have|begin) (?:a |an |the )?(?:\w+ )?(?:chat|conversation|dialogue|dialog"
        r"|chat session|interactive session)\b|\bsay (?:hi|hello|something) to\b"
        r"|\bchat (?:to|using|via)\b"
        rf"|\b(?:let|have) {THING} (?:answer|speak|talk|reply|say)\b"
        rf"|\bprompt {THING}|\b(?:with|to) {THING} (?:chat|talk|speak)\b",
    ),
)

QUESTIONS = _rules(
    (
        "explain",
        "'explain' asks for knowledge",
        r"^(?:explain|define|teach me|eli5)\b(?! .*\bplan\b)|^(?!.*<[nm]).*\bdifferences? between\b",
    ),
    (
        "preflight",
        "asks whether it can be done",
        r"^preflight\b|\bpreflight\b"
        r""
        rf"|\b(?:is|are)\b[^.;]{{0,40}}\b(?:possible|supported|available|allowed|ok|feasible|doable"
        rf"|an option) (?:for|with|on) {MODELISH}"
        r"|\b(?:can|could|may|might|will|would|should)\b (?:(?:one|we|you|i|it|this|that|the model"
        rf"|model)\s)*(?:ever )?(?:{MODELISH}|the model)[^.;]{{0,30}}?\b(?:be|get"
        r"|still be)(?: \w+)? (?:quantizi?ed|quantized|converted|compressed|made|turned|done|used|shrunk"
        r"|handled|loaded|processed|squeezed|downloaded|run|supported|quantize|brought)\b"
        rf"|\b(?:is|are|was)\b[^.;]{{0,30}}(?:{MODELISH})[^.;]{{0,25}}\b(?:supported|unsupported|gated|quantizable"
        r"|convertible|compatible|allowed|private|public|open|licen[cs]ed|restricted|available|possible|doable"
        r"|feasible|ok for|suitable|downloadable|accessible|known|eligible|free to|free for)\b"
        rf"|\b(?:does|do|will|would|can|could)\b[^.;]{{0,20}}(?:{_METHOD}|you|lqmf|it|we|the converter"
        rf"|the tool)[^.;]{{0,12}}\b(?:support|handle|know(?! about| of)"
        r"|work with|accept|cope with|understand|deal with)\b"
        rf"[^.;]*(?:{MODELISH})"
        rf"|\b(?:does|do|will|would)\b[^.;]*(?:{MODELISH})[^.;]{{0,20}}\b(?:work|support|need (?:a |an "
        rf"|to )?(?:trust\w*|remote code|custom code|accept\w*|token"
        r"|licen[cs]e|login)|require|have a (?:tokenizer|chat template|licen[cs]e)|go|play)\b"
        r"|\b(?:possible|feasible|able|doable|allowed|ok|okay|legal) to (?:quantize|convert|compress|shrink"
        r"|use|download|turn)\b"
        rf"|\bdo i need\b[^.;]*\b(?:token|licen[cs]e|login|access|permission)\b[^.;]*(?:{MODELISH})"
        rf"|\b(?:check|find out|tell me|see|know|wonder(?:ing)?|figure out|sure)\b[^.;]{{0,20}}\b(?:whether|if"
        rf"|that)\b[^.;]*(?:{MODELISH})[^.;]*\b(?:quantized|supported|gated|works?|possible|compatible|quantizable"
        r"|converted|convertible|can be|available|ok|feasible|support)\b"
        rf"|\b(?:check|inspect|vet|pre-?check|look at|examine)\b(?: \w+){{0,4}} {M}"
        rf"|\bcan (?:i|we|one) (?:quantize|convert|compress|shrink|use|download)\b[^.;]*(?:{MODELISH})[^.;]*\?"
        r"|\bcan (?:i|we|one) (?:even |actually |really )?(?:quantize|convert|compress"
        rf"|shrink)\b[^.;]*(?:{MODELISH})"
        r"|\b(?:(?:is|are) there (?:any|a)|any) (?:way|chance|problems?|issues?|reason|support|obstacles?"
        r"|blockers?|trouble|restrictions?)\b(?![^.;]*\b(?:fits?|runs?|enough|squeeze\w*|quantiz\w+ (?:it|to|in))\b)"
        rf"[^.;]*(?:{MODELISH})"
        rf"|{M}[^.;]{{0,12}}\b(?:supported|gated|quantizable|compatible|possible)\?"
        rf"|\b(?:supported|support)\b[^.;]{{0,10}}{M}\?"
        rf"|\b(?:what|which) (?:is |are |the |kind of |sort of )*(?:architecture|licen[cs]e|tokenizer"
        rf"|chat template)\b[^.;]*(?:{MODELISH})"
        rf"|\bhave (?:i )?access to\b[^.;]*(?:{MODELISH})"
        r"|\b(?:anything|something|what) (?:against|stopping|that prevents|in the way of|preventing"
        rf"|speaks against)\b[^.;]*(?:{MODELISH})|\bgated\b[^.;]*(?:{MODELISH})",
    ),
    (
        "plan",
        "asks what it would be",
        r"^plan\b"
        r"|\b(?:show|give|make|draw up|see|want|need|print|draft|display|create|prepare|sketch|just|only"
        r"|propose|tell me|with|work out|lay out|write|get|outline|look at|the|a)\b(?: me| us| you)?(?: (?:the"
        r"|a|your|quantization|full|just|only|detailed|rough|an|out|up))* (?:plan|estimates?|dry[ -]?run"
        r"|recommendation|proposal|suggestion|forecast)\b|\bdry[ -]?run\b"
        r"|\bplan (?:for|of|to|a|an|the|out|it)\b"
        r"|\bhow (?:big|large|heavy|small|huge|much (?:space|memory|room|v?ram|disk|storage|gpu|bigger"
        r"|smaller)|many (?:gb|gigs|gigabytes|mb|megabytes|gib|bytes))\b(?![^.;]*<n)"
        r"|\bwhat (?:\w+ )?(?:size|footprint|file size|memory|vram|ram)\b[^.;]*\b(?:would|will|does|do|is|be"
        r"|have|need|take|of|are|should)\b(?![^.;]*<n)"
        rf"|\b(?:will|would|does|do|can|could|is|did|might|should)\b[^.;]*(?:{THING}|model)[^.;]*\b(?:fits?"
        r"|squeeze|squeezed|run|running|go|work|loaded|cram\w*|load|enough|handle|manage"
        r"|usable)\b[^.;]*(?:\b(?:on|in|into|within|with|under|inside|for|to)\b)"
        r"|\b(?:fits?|fitting)\b[^.;]*\b(?:in|into|on|within|my|a|the)\b[^.;]*\?"
        rf"|\b(?:will|would|does|can|could) (?:{THING}) (?:\w+ )?fit\b"
        rf"|\b(?:can|could|will|would|does|may|might) (?:my|an?|the|this) [^.;<]*\b(?:handle|run|hold|load|cope"
        rf"|manage|fit|take"
        rf"|host|accommodate)\b[^.;]*(?:{THING})"
        rf"|(?:\d bits?|{_METHOD}|{TYPE.pattern}) or (?:\d bits?|{_METHOD}|{TYPE.pattern})[^.;<]*(?:{M})[^.;]*\?"
        r"|\b(?:can|could|will|would|does|is)\b[^.;]*(?:gpu|card|ram|memory|machine|laptop|cpu|computer|pc"
        r"|\d ?gb|raspberry|mac|device|hardware|system|it)\b[^.;]*\b(?:run|handle|hold|load|cope|manage|enough"
        rf"|fit|take|host|accommodate|suffice)\b[^.;]*(?:{THING})"
        rf"|\b(?:which|what)\b[^.;?]{{0,25}}\b(?:quant\w*|types?|bits?|bit[ -]?width|methods?|precision|format"
        r"|settings?|level|option|options|configuration|setup|k-quants?|gguf|variant|version|one|would|should"
        r"|do)\b[^.;]*\b(?:should|would|best|use|recommend\w*|suggest|pick|choose|go (?:for|with)|fits?|better"
        r"|suits?|right|good|optimal|ideal|advise|take|sensible|make sense|appropriate"
        rf"|works?)\b[^.;]*(?:\b(?:for|on|with|in|to|of)\b|{THING})"
        r"|\bwhat (?:would|will) (?:the|its|it is) (?:\w+ )?(?:size|footprint|memory|file)\b(?![^.;]*<n)"
        r"|\bwhat (?:is|are|will be|would be) (?:the |its )?(?:\w+ )?(?:size|footprint|requirements?|disk usage"
        r"|memory usage)"
        rf" (?:of|for)\b[^.;]*(?:{MODELISH})|\boptions for\b[^.;]*(?:{MODELISH})"
        r"|\b(?:simulate|preview|pretend|rehearse|sketch)\b[^.;]*(?:quantiz\w*|plan|conver\w*)"
        r"|\b(?:which|what) (?:\w+ )?(?:quant\w*|types?|bits|method|precision|format|settings?|version)\b[^.;]*"
        rf"(?:{MODELISH})[^.;]*\b(?:would|should|do) (?:you|i|we)\b"
        r"|\bwhat should i (?:use|pick|choose|take|do|go)\b[^.;]*"
        r"|\b(?:best|right|optimal|ideal|good|recommended|sensible|suitable) (?:\w+ )?(?:quant\w*|types?|bits?"
        r"|methods?|precision|settings?|choice|option|way|level|setup)\b[^.;]*(?:\b(?:for|to|of|on)\b)"
        r"|\b(?:recommend|suggest|advise|propose|advice)\b"
        r"|\bwhat (?:would|do) you (?:recommend|suggest|advise|pick|choose|use|propose|do)\b"
        r"|\bhow (?:long|much time|slow|fast|quickly)\b[^.;]*\b(?:would|will|does|take"
        rf"|to)\b[^.;]*(?:quantiz\w*|convert\w*|{M}|take)|\bestimate\b"
        rf"|\bwhat would\b[^.;]*(?:{THING}|the same)[^.;]*\b(?:look like|weigh|need|take|cost|be|require|come to"
        r"|come out)\b"
        rf"|\bhow (?:would|could|should|will) (?:you|i|we|it)\b[^.;]*(?:{THING})"
        rf"|\b(?:do|does|will|would)\b[^.;]*(?:{THING})[^.;]*\b(?:need|require|take|use|take up|consume|eat"
        r"|occupy)\b|\bis (?:my|the|a|an|this) [^.;]*\benough\b"
        rf"|\b(?:is|are|would(?! like)) [^.;]{{0,40}}\benough (?:for|to)\b"
        rf"|\bshould i (?:use|go|pick|choose|take|quantize)\b[^.;]*(?:{M}|{IT})"
        r"|\bdo i have enough\b"
        rf"|\bcan i (?:run|fit|load|use|squeeze|get|host)\b[^.;]*(?:{THING})",
    ),
)

KNOWLEDGE = _rules(
    (
        "explain",
        "a knowledge question",
        r"^(?:what (?:is|are|was|does|do|exactly|happens|about|makes|kind|sort|effect|did)|who|why|how (?:does"
        r"|do|is|are|come|can|much|bad|good|accurate|big|many|should|would)|when (?:should|do|would|is)"
        r""
        r"|which (?:is|one|are|of|method|type|quant\w*|format|has|gives|works|do|should)"
        r"|tell me|does|do(?! (?:it|that|this|the|a|an|one|me|my|them|so|\d[ -]?bits?)\b| \w+[\s?.!]*$)|is"
        r"|are|should|would|can|could|will|where|i (?:do not )?(?:understand|wonder|want to (?:know|learn"
        r"|understand))|i am (?:curious|wondering)|difference|differences|meaning|give me (?:a |an "
        r"|the )?(?:short |quick "
        r"|brief )?(?:explanation|definition|introduction|overview|primer)|what|compare|comparison|describe"
        r"|know (?:what|how|why|more|about)|learn (?:what|how|why|more|about)|find out (?:what|how|why)"
        r"|talk me through|walk me through|help me understand|please explain|explain)\b"
        r"|\b(?:vs\.?|versus)\b"
        r"|\b(?:explain|meaning of|stands? for|what (?:is|does|are))\b|\?\s*$",
    ),
)

OUTCOMES = _rules(
    (
        "history",
        "asks for the past of something",
        rf"\bhistory (?:of|for) (?:the )?(?:{N})",
    ),
    (
        "benchmark",
        "asks for speed",
        r"^bench(?:mark(?:s|ing)?)?\b|\bbench(?:mark(?:s|ed|ing)?)?\b"
        rf"|\bhow (?:fast|quick|slow|speedy|quickly)\b[^.;]*(?:{THING})"
        r"|\b(?:measure|time|check|clock|gauge|find out|tell me|get|test|determine|what is"
        rf"|show)\b[^.;]{{0,25}}\b(?:speed|throughput|latency|tokens? (?:per|a|/) ?s\w*|tok/s|performance|t/s"
        rf"|fast)\b[^.;]*(?:{THING})"
        rf"|\b(?:tokens? (?:per|a) s\w*|tok/s|throughput|speed test|latency)\b[^.;]*(?:{THING})"
        rf"|(?:{THING})[^.;]*\b(?:tokens? (?:per|a) s\w*|throughput|tok/s)\b"
        rf"|\btime {N}|\b(?:speed|performance|latency|throughput) (?:of|for|test|check)\b[^.;]*{THING}"
        rf"|\b(?:tokens?|tok) ?/ ?s",
    ),
    (
        "show",
        "asks for what is recorded",
        rf"^(?:please )?show(?: me)?(?: {X}|[\s.!?]*$)"
        r"|\b(?:show|display|print|view|open|see|inspect|describe|detail|details|info|information|look at"
        r"|look up|pull up|bring up|tell me|give me|get|cat|present)\b[^.;]*?(?:details?|info\w*|record\w*"
        rf"|manifest|receipt|facts|summary|everything|about|on|of|for|\b)\s*(?:{N}|{IT})(?![^.;]*\b(?:plan"
        r"|stats|statistics|history|worked|succeeded)\b)"
        r"|\bwhat(?: do (?:you|we) know| is (?:known|recorded|stored|there|inside|in)| have (?:you|we) got"
        rf"| can you tell me| is)\b(?![^.;]*\b(?:perplexity|quality|accuracy|speed|throughput|latency|divergence)\b)"
        rf"[^.;]*(?:{N})"
        rf"|\bwhat\b[^.;]*\b(?:recorded|known|stored|know)\b[^.;]*(?:{THING})"
        r"|\b(?:details?|info|information|record|receipt|manifest|entry|data) (?:of|for|on"
        rf"|about) (?:the )?(?:{X}|{IT})"
        rf"|\b(?:when|how|where|by whom|from what|with what)\b[^.;]*(?:{N}|{IT})[^.;]*\b(?:made|built|created"
        r"|quantized|produced|stored|saved|located|come from)\b"
        rf"|\b(?:what|which|with what)\b[^.;]*{N}[^.;]*\b(?:made|built|created|quantized|produced) (?:with|from|by"
        rf"|of|at|on)\b"
        rf"|\bhow (?:big|large|heavy|much space)\b[^.;]*{N}"
        rf"|\bwhat size\b[^.;]*{N}|^show \S*[\d_-]\S*$"
        r"|\bshow (?:me )?(?:job|run|experiment|artifact|model) ",
    ),
    (
        "test",
        "asks for a test",
        r"^test\b"
        r""
        r"|\b(?:test|testing|evaluate|evaluating|eval|assess|retest|quality[ -]check|grade|score"
        r"|(?<!success )(?<!failure )rate|try out"
        r"|check out|judge|examine|measure|sanity[ -]check|run (?:the |a |some |quick |comprehensive "
        rf"|full )*tests?)\b[^.;]*(?:{THING}|tests?\b|\bmodels?\b|$)"
        rf"|\bhow (?:good|well|accurate|bad|smart|reliable|coherent|decent|usable|does)\b[^.;]*(?:{THING}|{M})"
        rf"|\b(?:perplexity|quality|accuracy|kl(?: divergence)?|divergence)\b[^.;]*(?:{N}|{IT})"
        rf"|\b(?:is|are|does|did)\b[^.;,]{{0,15}}(?:{N}|{IT})[^.;,]*\b(?:any good|good|usable|ok|okay|work|works|sane"
        rf"|decent|coherent|accurate|turn out)\b|^try {THING}"
        rf"|\b(?:check|try)\b(?: \w+){{0,3}} (?:{N})"
        rf"|\b(?:give|put)\b[^.;]*(?:{THING})[^.;]*\b(?:test|spin|through its paces|try)\b"
        r"|\bwhat can be tested\b"
        r"|\bwhich\b[^.;]*\b(?:can i test|to test|testable)\b"
        r"|\b(?:quick|comprehensive|full|thorough) test\b",
    ),
    (
        "stats",
        "asks for figures",
        r"^(?:what |which )?(?:percentage|share|fraction|proportion|ratio) of\b|\bhow often (?:did|do|does|has"
        r"|have)\b|^(?:stats?|statistics|statistic|numbers|metrics|figures|dashboard)\b"
        r"|\b(?:stats|statistics|success[ -]rates?|failure[ -]rates?|figures|totals?|metrics|tall(?:y|ies)"
        r"|scoreboard|key numbers)\b"
        r"|\bhow (?:many|often)\b(?![^.;]*\b(?:bits|tokens|layers|parameters|gb|gigs)\b)[^.;]*(?:quantiz\w*"
        r"|runs?|jobs?|models?|artifacts?|experiments?|succe\w*|fail\w*|made|tests?|times|have i|did i"
        r"|did we)\b"
        r"|\bhow much (?:disk |storage )?(?:space|disk|storage|time|bytes|gigabytes)\b[^.;]*\b(?:saved?|have i"
        r"|spent|did|did we|in total|so far|am i|used|my)\b"
        r"|\b(?:average|overall|in total|mean|aggregate|summar(?:y|i[sz]e))\b[^.;]*(?:runs?|jobs?|models?"
        r"|times?|size|quantiz\w*|experiments?|numbers|compression|activity|work|everything|results?)\b"
        r"|\boverall\b[^.;]*\b(?:doing|performance|numbers|results)\b"
        r"|\bhow (?:long|much time) (?:do|does|did) (?:my|the|a|our|these) (?:\w+ )?(?:quantiz\w+|runs?|jobs?"
        r"|conversions?)"
        r" (?:usually |typically |normally )?take\b(?![^<]*<)|\bhow (?:successful|productive|efficient) (?:am|are"
        r"|was|were|have)\b"
        r"|\btotal (?:number|count|amount|size|time)\b|(?!how (?:is it|are (?:things|you)) (?:going|doing)[\s?!.]*$)"
        r"\bhow (?:am i|are (?:we|my|things)|is (?:it|my))\b[^.;]*\b(?:doing|going|runs|statistics|overall"
        r"|performing|numbers)\b"
        r"|\b(?:the|my|some|all|give me) (?:the )?numbers\b",
    ),
    (
        "history",
        "asks for the past",
        r"^(?:history|log|journal|timeline)\b|\bhistory\b"
        r"|\bwhat (?:did|have|was|were|has)\b[^.;]*\b(?:i|we|you)\b[^.;]*\b(?:do|done|ask(?:ed)?|type[d]?|say"
        r"|said|run|tried|try|doing|did|happened|work(?:ed|ing)?)\b"
        r"|\b(?:past|previous|earlier|recent|last|latest|yesterday'?s?) (?:\w+ )?(?:commands?|activit(?:y|ies)"
        r"|requests?|sessions?|turns?|conversations?|actions|steps|things)\b"
        r"|\bwhat happened\b(?! (?:to|if|when))|\bwhat (?:i|we) (?:\w+ )?(?:asked|typed|did|said|ran|told"
        r"|requested|entered|have done)\b"
        r"|\b(?:activity|command|session|job) (?:log|history)\b"
        r"|\bwhat (?:did|have) (?:i|we)\b(?![^.;]*\b(?:quantiz\w*|made?|built|converted|produced)\b)[^.;]*"
        r"\b(?:yesterday|today|last|before|earlier|so far|recently"
        r"|this week)\b"
        r"|\bshow (?:me )?(?:the |my )?(?:log|timeline|journal|past)\b"
        r"|\bgo over what\b|\b(?:recap|retrace)\b",
    ),
    (
        "list",
        "asks for a list",
        r"^(?:list|ls|dir)\b|\b(?:list|enumerate|catalog(?:ue)?|inventory)\b"
        r"|\b(?:show|display|give|print|see|view|tell|get|find|name|let us see|look at|browse|fetch)(?: me"
        r"| us)? (?:(?:all|the|my|every|only|just|a|list|of|our|me|what|which|any|of my|everything|existing"
        r"|available|saved|stored|finished|quantized|\d+[ -]?bits?|recent|most|latest|last|two|three|five|ten|\d+"
        r"|top|local|gguf|gptq"
        r"|bitsandbytes|bnb|type|failed|failing|successful|succeeded|completed|unsuccessful|broken|old|new"
        rf"|past|previous|cpu|gpu|{M}|that|i have) )*(?:{_THINGS}|quantized|everything|what i have|failures?"
        r"|successes|made|got)\b"
        rf"|\b(?:which|what)(?: of (?:my|the|them|those|these))?(?: [\w-]+){{0,3}}? ?(?:{_THINGS}|quantized|ones?"
        r"|them|my|all|have|did|do|was|were|went|failed|worked|succeeded)\b(?: \w+)*? ?(?:do (?:i|we) have"
        r"|have (?:i|we|you)|are there|exist\w*|fail\w*|succe\w*|worked|work|did (?:not )?work|broke|crashed"
        r"|are (?:on|in|here|available|stored|finished|done|ready|quantized)|is there|did (?:i|we)|were|went"
        r"|made|i have|completed|available|on disk|passed|got through|ended|are mine|lie|already)\b"
        rf"|\b(?:do i have|have i got|are there|is there(?! (?:any )?support))\b[^.;]*\b(?:{_THINGS}|failed|gguf"
        rf"|gptq|bitsandbytes"
        r"|anything quantized)\b"
        r"|\bwhat (?:have|did) (?:i|we|you)(?: already| ever| all)? (?:quantized?|made|make|built|build"
        r"|produced?|created?|converted?)\b"
        r"|\bwhat (?:failed|went wrong|broke|worked|succeeded|crashed|have i got|do i have|is on disk|is there"
        r"|did i get|is in (?:my|the) (?:store|library|workspace|collection))\b"
        r"|^(?:all |only |just |the |my )*(?:failed|successful|unsuccessful|succeeded|failures|broken"
        rf"|completed)(?: (?:{_THINGS}|only|please))*[\s?.]*$"
        rf"|\b(?:failed|successful|unsuccessful|succeeded|completed|broken) (?:\w+ )?{_THINGS}\b"
        r"|^(?:all |my )*(?:models|artifacts|quants|experiments|runs|jobs)(?: please)?[\s?.]*$"
        r"|\bmy (?:quantized )?(?:models|artifacts|quants|experiments|collection|library)\b[\s?.]*$"
        r"|\b(?:everything|anything|all) (?:i have|that|which)\b(?= *(?:i have|fail|work|succe|broke|crash|went"
        r"|did|[?.!]|$))"
        rf"|^(?:what|anything) (?:is )?(?:available|stored|saved|here|there|local\w*)(?: (?:locally|here"
        rf"|on disk))?[\s?.!]*$"
        rf"|^(?:what|which) (?:[\w-]+ )?{_THINGS} (?:are there|exist|are available|are stored)\b"
        r"|^(?:which|what) (?:ones?|of (?:them|these|those|mine)) (?:is|are|were) (?:broken|failed|bad|good|ok"
        r"|fine|successful)\b"
        rf"|^which of (?:my|the|our) {_THINGS} (?:is|are) (?:the )?\w+\b"
        rf"|^(?:got|have) any\b[^<]*{_THINGS}|\bdo (?:i|we) have\b[^<]*\b{_THINGS}\b"
        r"|\bdid (?:anything|any|something)\b[^.;]*\b(?:fail|succeed|work|break|crash)",
    ),
    (
        "show",
        "'show' asks for what is recorded",
        rf"^(?:show|info|details|describe|inspect|view)\b(?: me)?(?: \w+){{0,4}} (?:{X})",
    ),
)

QUANTIZING = _rules(
    ("quantize", "a verb of quantizing", rf"\b(?:{QUANTIZE_VERB})\b{NOT_THE_CACHE}"),
    (
        "quantize",
        "asks for something smaller",
        r"\b(?:smaller|lighter|leaner|downscale|scale down|slim|miniaturi[sz]e|pack|cram|fit|bring|cut|trim"
        rf"|crush|get)\b[^.;]*(?:{X})",
    ),
)
