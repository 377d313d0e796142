"""Writes how to run an artifact elsewhere, as Markdown: lines to copy, for the programs that read its format.

Pure. Lines for llama.cpp and Ollama are those of `lqmf.artifacts.run_lines`.
"""

from __future__ import annotations

import json
import shlex

from lqmf.artifacts import run_lines
from lqmf.artifacts.card.header import ANSWERS, CONTINUES, EMBEDS
from lqmf.artifacts.card.markdown import fence, plain
from lqmf.declared import methods
from lqmf.engines.transformers.loading import by_gptqmodel
from lqmf.records import Artifact, Manifest

CONTEXT = 4096  # tokens, where no plan says how many
CLASSES = {EMBEDS: "AutoModel", ANSWERS: "AutoModelForSeq2SeqLM", CONTINUES: "AutoModelForCausalLM"}


def usage(artifact: Artifact, manifest: Manifest, task: str) -> str:
    """Return the section on running the artifact, for its format and its `task` in the Hub's words."""
    name = plain(artifact.name)
    ways = (
        _gguf(name, manifest, task) if artifact.method == "gguf" else in_folder(f"./{name}", artifact, manifest, task)
    )
    return "\n\n".join([*(f"{title}:\n\n{block}" for title, block in ways.items()), f"With LQMF:\n\n{_lqmf(name)}"])


def _gguf(name: str, manifest: Manifest, task: str) -> dict[str, str]:
    file = next((plain(entry.path) for entry in manifest.files if entry.path.endswith(".gguf")), f"{name}.gguf")
    here = shlex.quote(f"./{file}")
    if task == ANSWERS:
        return {}  # programs that chat have no use for it
    if task == EMBEDS:
        return {"With llama.cpp, in this folder": fence("sh", f'llama-embedding -m {here} -p "a text"')}
    found = run_lines.of_manifest(manifest)
    lines = run_lines.anywhere(name, found[0].context if found else CONTEXT, f"./{file}")
    code = f"""from transformers import AutoModelForCausalLM, AutoTokenizer

file = {json.dumps(file, ensure_ascii=False)}
tokenizer = AutoTokenizer.from_pretrained(".", gguf_file=file)
model = AutoModelForCausalLM.from_pretrained(".", gguf_file=file)"""
    unpacked = fence("python", code)
    return {
        "With llama.cpp, in this folder": fence("sh", f"llama-cli -m {here} -cnv\n{lines['llama_server']}"),
        "With Ollama, whose `Modelfile` lies beside the weights": fence("sh", lines["ollama"]),
        "With LM Studio": fence("sh", f"lms import {here}"),
        "With transformers, after `pip install gguf`; it unpacks the weights, of architectures that it knows": unpacked,
    }


def in_folder(place: str, artifact: Artifact, manifest: Manifest, task: str) -> dict[str, str]:
    """Return how an artifact that is a folder is run, by a title for each way; `place` is its path, or its repository
    on the Hub."""
    folder = json.dumps(place, ensure_ascii=False)
    mixture = {"num_experts": sum(".experts." in name for name in manifest.tensors)}
    if artifact.method == "gptq" and by_gptqmodel(manifest.model_type, mixture):
        code = f"from gptqmodel import GPTQModel\n\nmodel = GPTQModel.load({folder})"
        return {"With gptqmodel; transformers cannot load this architecture's GPTQ weights": fence("python", code)}
    kind = CLASSES[task]
    if own := methods.of(artifact.method).usage:
        return {title: fence("python", code.format(folder=folder, kind=kind)) for title, code in own.items()}
    code = f"""from transformers import {kind}, AutoTokenizer

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {kind}.from_pretrained(folder, device_map="auto")"""
    return {"With transformers": fence("python", code)}


def _lqmf(name: str) -> str:
    return fence("sh", f"lqmf show {shlex.quote(name)}\nlqmf verify {shlex.quote(name)}\nlqmf test {shlex.quote(name)}")
