"""The DocumentationAgent: an artifact's model card, in the Hugging Face Hub's format. Pure: records in, text out.

The header's keys are those of the Hub's model card metadata (huggingface.co/docs/hub/model-cards). Names that come
from outside are data here: no control character, no Markdown and no YAML of theirs takes effect. The card names
neither this machine nor a path on it.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from lqmf import run_lines
from lqmf.records import Artifact, Manifest, Receipt, Run, to_json
from lqmf.units import file_size

LIBRARIES = {"gguf": "gguf", "gptq": "transformers", "bnb": "transformers"}
TAGS = {"gguf": ("gguf", "llama.cpp"), "gptq": ("gptq",), "bnb": ("bitsandbytes",)}
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
MARKDOWN = re.compile(  # in the middle of a line: marks, links, HTML, entities, formulas, bare addresses
    r"([\\`*\[\]<>|&~$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=:)/(?=/)|(?<=www)\.|^[#+-])", re.IGNORECASE
)


def model_card(artifact: Artifact, manifest: Manifest, receipt: Receipt | Mapping[str, Any] | None) -> str:
    """README.md of an artifact: header, facts, how good it is, how to run it, how it was made, its files.

    `receipt` is None when nothing was measured.
    """
    measured = to_json(receipt) if receipt is not None else None
    sections = (
        _header(artifact, manifest),
        f"# {text(artifact.name)}\n\n{_introduction(artifact, manifest)}",
        "## Facts\n\n" + table(("", ""), _facts(artifact, manifest, measured or {})),
        "## How good it is\n\n" + _quality(measured),
        "## How to run it\n\n" + _usage(artifact, manifest),
        "## How it was made\n\n" + _making(manifest),
        "## Files\n\n" + table(("File", "Size", "SHA-256"), _files(manifest)),
    )
    return "\n\n".join(sections) + "\n"


# ---------------------------------------------------------------- the parts


def _header(artifact: Artifact, manifest: Manifest) -> str:
    model = manifest.model
    tags = [*TAGS.get(artifact.method, ()), "quantized", "lqmf", *([artifact.type] if artifact.type else [])]
    fields: dict[str, str | list[str] | None] = {
        "base_model": model.id if model.kind == "hub" and HUB_ID.fullmatch(model.id) else None,
        "base_model_relation": "quantized" if model.kind == "hub" and HUB_ID.fullmatch(model.id) else None,
        "license": manifest.license,
        "library_name": LIBRARIES.get(artifact.method),
        "pipeline_tag": "text-generation",
        "quantized_by": "LQMF",
        "tags": tags,
    }
    lines = [line for name, value in fields.items() if value for line in _yaml(name, value)]
    return "\n".join(["---", *lines, "---"])


def _yaml(name: str, value: str | list[str]) -> list[str]:
    """One key of the header. A JSON string without control characters is a YAML double-quoted scalar."""
    if isinstance(value, str):
        return [f"{name}: {json.dumps(plain(value), ensure_ascii=False)}"]
    return [f"{name}:", *(f"- {json.dumps(plain(item), ensure_ascii=False)}" for item in value)]


def _introduction(artifact: Artifact, manifest: Manifest) -> str:
    model = manifest.model
    if model.kind == "hub" and HUB_ID.fullmatch(model.id):
        source = f"[{text(model.id)}](https://huggingface.co/{model.id})"
    else:
        source = f"{text(model.id)}, " + ("the model bundled with LQMF" if model.kind == "demo" else "a local model")
    what = " ".join(part for part in (text(artifact.method.upper()), text(artifact.type)) if part)
    return f"A quantization ({what}) of {source}, made by LQMF (Local Quantized Model Factory)."


def _facts(artifact: Artifact, manifest: Manifest, receipt: Mapping[str, Any]) -> list[tuple[str, str]]:
    weight_bits = receipt.get("bits_per_weight")
    ratio = artifact.compression_ratio
    facts = {
        "Method": artifact.method,
        "Type": artifact.type,
        "Bits": str(artifact.bits),
        "Bits per weight": f"{weight_bits:.2f}" if weight_bits is not None else "",
        "Size": file_size(artifact.size_bytes),
        "Size of the source": file_size(manifest.source_size_bytes),
        "Compression": f"{ratio:.2f} times" if ratio is not None else "",
        "Importance matrix": _imatrix(manifest.imatrix or {}),
        "Source": manifest.model.id,
        "Source commit": manifest.commit or "",
        "Made at": manifest.created_at,
        "Made with": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
    }
    return [(name, text(value)) for name, value in facts.items() if value]


def _imatrix(told: Mapping[str, Any]) -> str:
    """What a matrix was collected from; "" for none."""
    windows = f", {told['windows']} windows" if told.get("windows") else ""
    return f"from {told.get('text') or 'a file'}{windows}" if told else ""


MEASURES = (
    ("Perplexity", "perplexity", "{:.4f}"),
    ("KL divergence from the source", "kl_divergence", ""),
    ("Top-1 agreement with the source", "top1_agreement", "{:.2%}"),
    ("Tokens a second", "tokens_per_second", ""),
    ("Time to the first token", "latency_seconds", ""),
    ("Peak memory", "peak_memory_bytes", ""),
    ("Load time", "load_seconds", "{:.2f} s"),
)


def _quality(receipt: Mapping[str, Any] | None) -> str:
    if receipt is None:
        return "Not measured: no test was run. `lqmf test` measures it."
    reasons = receipt.get("reasons") or {}
    rows = [(label, _measure(receipt, field, form, reasons)) for label, field, form in MEASURES]
    return table(("Measure", "Value"), rows) + "\n\n" + _conditions(receipt)


def _measure(receipt: Mapping[str, Any], field: str, form: str, reasons: Mapping[str, str]) -> str:
    value = receipt.get(field)
    if value is None:
        return f"not measured: {text(str(reasons.get(field) or 'no reason was recorded'))}"
    shown = form.format(value) if form else COMPOSED[field](value)
    base = (receipt.get("base") or {}).get("perplexity") if field == "perplexity" else None
    return shown + (f" (source: {base:.4f})" if base is not None else "")


def _divergence(value: Mapping[str, Any]) -> str:
    return f"{value['mean']:.5f} ± {value['standard_error']:.5f} nats a token; 99 % of tokens below {value['p99']:.4f}"


def _speed(value: Mapping[str, Any]) -> str:
    return _joined((f"{rate:,.1f} {what}" for what, rate in _known(value, prompt="prompt", generation="generation")))


def _memory(value: Mapping[str, Any]) -> str:
    return _joined(f"{file_size(amount)} {what}" for what, amount in _known(value, rss="RAM", gpu="GPU"))


def _latency(value: Mapping[str, Any]) -> str:
    return _joined(f"{seconds * 1000:,.0f} ms" for _what, seconds in _known(value, first_token=""))


COMPOSED = {
    "kl_divergence": _divergence,
    "tokens_per_second": _speed,
    "peak_memory_bytes": _memory,
    "latency_seconds": _latency,
}


def _known(value: Mapping[str, Any], **labels: str) -> list[tuple[str, float]]:
    return [(label, value[name]) for name, label in labels.items() if value.get(name) is not None]


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts) or "not measured: the receipt holds no value"


def _conditions(receipt: Mapping[str, Any]) -> str:
    """What was measured over, and where; logarithms are natural."""
    source = receipt.get("text") or {}
    tokens, window = receipt.get("tokens_evaluated"), receipt.get("window_tokens")
    machine = text(", ".join(str(part) for part in (receipt.get("measured_on") or {}).values() if part))
    parts = (
        f"over {tokens:,} tokens" + (f" of {text(source['name'])}" if source.get("name") else "") if tokens else "",
        f"in windows of {window}" if tokens and window else "",
        f"on {machine}" if machine else "",
    )
    said = ", ".join(part for part in parts if part)
    measured = f"Measured {said}." if said else "Where it was measured was not recorded."
    if receipt.get("kl_divergence") is None:
        return measured
    return (
        f"{measured} KL divergence: over the second half of each window, from the source's distribution to this one's."
    )


def _usage(artifact: Artifact, manifest: Manifest) -> str:
    name = plain(artifact.name)
    if artifact.method != "gguf":
        code = f"""from transformers import AutoModelForCausalLM, AutoTokenizer

folder = {json.dumps("./" + name, ensure_ascii=False)}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, device_map="auto")"""
        return f"With transformers:\n\n{fence('python', code)}\n\nWith LQMF:\n\n{_lqmf(name)}"
    file = next((plain(entry.path) for entry in manifest.files if entry.path.endswith(".gguf")), f"{name}.gguf")
    here = shlex.quote(f"./{file}")
    found = run_lines.of_manifest(manifest)
    lines = run_lines.ready(name, found[0] if found else Run(context=4096), f"./{file}")
    ways = {
        "llama.cpp": f"llama-cli -m {here} -cnv\n{lines['llama_server']}",
        "Ollama": f"printf %s {shlex.quote(lines['modelfile'])} > Modelfile\n{lines['ollama']}",
        "LM Studio": f"lms import {here}",
    }
    shown = [f"With {way}, in this folder:\n\n{fence('sh', commands)}" for way, commands in ways.items()]
    return "\n\n".join([*shown, f"With LQMF:\n\n{_lqmf(name)}"])


def _lqmf(name: str) -> str:
    return fence("sh", f"lqmf test {shlex.quote(name)}\nlqmf show {shlex.quote(name)}")


def _making(manifest: Manifest) -> str:
    choices = manifest.plan.get("choices") or ()
    if not choices:
        return "`manifest.json` holds the plan, the versions and the hashes: enough to make it again."
    rows = [(text(str(c["name"])), text(str(c["value"])), text(str(c["reason"]))) for c in choices]
    return table(("Choice", "Value", "Why"), rows)


def _files(manifest: Manifest) -> list[tuple[str, str, str]]:
    return [(text(f.path), file_size(f.size_bytes), text(f.sha256)) for f in manifest.files if f.immutable]


# ---------------------------------------------------------------- text that cannot do harm


def plain(raw: str) -> str:
    """Without control, format and surrogate characters; any run of white space becomes one space."""
    printable = "".join(" " if c.isspace() else c for c in raw if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(printable.split())


def text(raw: str) -> str:
    """Plain text as Markdown that shows just that, in a table's cell too."""
    return MARKDOWN.sub(r"\\\1", plain(raw))


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table; the cells are Markdown already."""
    lines = (head, tuple("---" for _ in head), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fence(language: str, code: str) -> str:
    """A block of code, in a fence longer than any in the code."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{code}\n{marks}"
