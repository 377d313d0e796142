"""Writes ready command lines that run a GGUF file elsewhere as a plan fitted it: llama.cpp's server, and Ollama.

Pure: a `Run` in, text out. Names of options are those of llama.cpp's tools/server/README.md and of Ollama's
docs/modelfile.mdx, docs/faq.mdx and api/types.go (both of 2026). Lines are quoted for a POSIX shell.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from lqmf.fit.needs import CACHE_TYPES
from lqmf.records import InvalidRecord, Manifest, Run, from_json


def of_manifest(manifest: Manifest) -> tuple[Run, str] | None:
    """Return (run settings, GGUF file) of an artifact; None for an artifact without GGUF, without run settings (older
    plans had none), or whose manifest has settings that no plan has."""
    file = next((entry.path for entry in manifest.files if entry.path.endswith(".gguf")), None)
    if file is None or not manifest.run.get("context"):
        return None
    try:
        run = from_json(Run, manifest.run)
    except InvalidRecord:
        return None
    return (run, file) if {run.k_type, run.v_type} <= set(CACHE_TYPES) and file.isprintable() else None


def ready(name: str, run: Run, gguf: str, modelfile: str = "Modelfile") -> dict[str, str]:
    """Return the lines for the artifact called `name`, by program; Ollama's lines read the file `modelfile`."""
    return {"llama_server": llama_server(run, gguf), "ollama": ollama(name, run, modelfile)}


def anywhere(name: str, context: int, gguf: str) -> dict[str, str]:
    """Return the lines for `name` on an unknown machine, by program: the programs themselves find out what fits
    there."""
    return {
        "llama_server": shlex.join(["llama-server", "-m", gguf, "-c", str(context)]),
        "ollama": _create_and_run(ollama_name(name), "Modelfile"),
    }


def chat(name: str, context: int, gguf: str, modelfile: str) -> tuple[str, str]:
    """Return a line for llama.cpp and a line for Ollama that chat with `name` in the terminal."""
    called = ollama_name(name)
    made, run = shlex.join(["ollama", "create", called, "-f", modelfile]), shlex.join(["ollama", "run", called])
    return shlex.join(["llama-cli", "-m", gguf, "-c", str(context), "-cnv"]), f"{made} && {run}"


def llama_server(run: Run, gguf: str) -> str:
    """Return the line that serves `gguf`. `-c` counts the tokens of all chats together; a quantized cache needs flash
    attention; `-cram 0` turns off the server's store of past prompts, which would take up to 8 GiB more RAM."""
    words = ["llama-server", "-m", gguf, "-c", run.cells, "-np", run.parallel, "-ngl", run.gpu_layers]
    words += ["-ctk", run.k_type, "-ctv", run.v_type, "-ub", run.ubatch, "-cram", 0]
    if _ollama_cache(run) != "f16":
        words += ["-fa", "on"]
    return shlex.join(map(str, words))


def modelfile(
    run: Run | None, gguf: str, *, template: str = "", stops: Sequence[str] = (), notes: Sequence[str] = ()
) -> str:
    """Return an Ollama Modelfile for `gguf`, which is absolute or relative to the Modelfile. `num_ctx` is for each
    chat.

    `template` is in Ollama's own language, `stops` end an answer, `notes` become comments. There are no sampling
    settings: nobody has measured them. A plan without a GPU says nothing of other machines' GPUs.
    """
    place = gguf if gguf.startswith(("/", "./", "../", "~")) or gguf[1:2] == ":" else f"./{gguf}"
    settings = {"num_ctx": run.context, "num_gpu": run.gpu_layers, "num_batch": run.ubatch} if run else {}
    if run and not run.gpu_layers:
        del settings["num_gpu"]
    lines = [
        *(f"# {' '.join(note.split())}" for note in notes),
        f"FROM {_argument(place)}",
        *([f'TEMPLATE """{template}"""'] if template else []),
        *(f"PARAMETER {name} {value}" for name, value in settings.items()),
        *(f'PARAMETER stop """{stop}"""' if '"' in stop else f'PARAMETER stop "{stop}"' for stop in stops),
    ]
    return "\n".join(lines) + "\n"


def _argument(text: str) -> str:
    """A one-line argument, in triple quotes where Ollama's parser would cut it or strip its quotes."""
    return text if text == text.strip() and not text.startswith('"') else f'"""{text}"""'


def ollama(name: str, run: Run, modelfile: str = "Modelfile") -> str:
    """Return the lines that start Ollama's server with the settings of `run`, then make the model called `name` and
    chat with it. Where Ollama runs as a service, the first line's settings belong to the service.

    The server's environment holds the settings that a Modelfile has no words for: chats at once, and one cache type for
    keys and values (where they differ, the smaller of the two, so that it fits).
    """
    environment = {"OLLAMA_NUM_PARALLEL": str(run.parallel)}
    if (cache := _ollama_cache(run)) != "f16":
        environment |= {"OLLAMA_FLASH_ATTENTION": "1", "OLLAMA_KV_CACHE_TYPE": cache}
    served = " ".join([*(f"{key}={value}" for key, value in environment.items()), "ollama serve &"])
    return f"{served}\n{_create_and_run(ollama_name(name), modelfile)}"


def _create_and_run(called: str, modelfile: str) -> str:
    return f"{shlex.join(['ollama', 'create', called, '-f', modelfile])}\n{shlex.join(['ollama', 'run', called])}"


def ollama_name(name: str) -> str:
    """Return `name` as Ollama accepts it: letters, digits, `_`, `-` and `.`, at most 80, the first a letter or
    digit."""
    return re.sub(r"[^a-z0-9_.-]", "-", name.lower()).lstrip("_.-")[:80] or "model"


def _ollama_cache(run: Run) -> str:
    return max(run.k_type, run.v_type, key=CACHE_TYPES.index)
