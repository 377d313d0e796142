"""Time of LQMF's build of llama.cpp against a plain native one of the same source, same compiler and same processor.

    python bench/builds.py [--plain FOLDER] [--rounds 5]

Both run the same libllama; only ggml's libraries differ. FOLDER holds those of the plain build; without it they are
compiled (two minutes on two cores). A model of each type reads a prompt and writes a few tokens with one thread, in a
process of its own, the two builds in turn; CPU seconds, the least of all rounds. Where a build dies, that is told.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from lqmf.ggml import instruction_sets, library, wheels
from lqmf.hardware import cpu_name

TYPES = ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "iq4_xs", "iq4_nl", "q4_0")
PROMPT_TOKENS, WRITTEN_TOKENS = 128, 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", type=Path, help="the folder of libggml*.so of a plain native build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        plain = with_libraries(options.plain or compiled(Path(folder)), Path(folder) / "plain")
        print(f"{cpu_name()}; {instruction_sets.compiler_version()}; {library.version()}")
        print(f"ours: {wheels.installed_build().get('cflags') or 'not built by LQMF'}\n")
        read, wrote = f"{PROMPT_TOKENS} tokens read", f"{WRITTEN_TOKENS} written"
        print(f"| type | {read}, plain | ours | ratio | {wrote}, plain | ours | ratio |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for kind in TYPES:
            compare(kind, plain, options.rounds)
    return 0


def compare(kind: str, plain: Path, rounds: int) -> None:
    """One row: seconds of both builds, and ours over the plain one's."""
    seconds: dict[str, list[list[float]]] = {"plain": [], "ours": []}
    for _ in range(rounds):
        for name, folder in (("plain", plain), ("ours", None)):
            found = one(kind, folder)
            seconds[name] += [found] if found else []
    cells = []
    for place in (0, 1):
        a, b = (min((run[place] for run in seconds[name]), default=None) for name in ("plain", "ours"))
        cells += [f"{a:.3f} s" if a else "dies", f"{b:.3f} s" if b else "dies", f"{b / a:.3f}" if a and b else "-"]
    print(f"| {kind.upper()} | {' | '.join(cells)} |", flush=True)


def one(kind: str, folder: Path | None) -> list[float] | None:
    """The two times of one process; None where it died."""
    path = os.pathsep.join(filter(None, [str(folder) if folder else "", *sys.path]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, __file__, "--one", kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def measure(kind: str) -> list[float]:
    """CPU seconds for the prompt, and for the tokens after it."""
    from lqmf.engines.promise import Sampling
    from lqmf.engines.registry import open_engine
    from lqmf.ggml import synthetic_model
    from lqmf.ggml.probe import random_weights
    from lqmf.ggml.synthetic_model import Shape

    shape = Shape(kind, layers=2, width=1024, inner=2816)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.gguf"
        synthetic_model.write(file, shape, lambda type, columns: random_weights(type, columns, 64).data.tobytes())
        with open_engine(file, device="cpu") as engine:
            prompt = [1 + place % 200 for place in range(PROMPT_TOKENS)]
            times = []
            for written in (1, 0, WRITTEN_TOKENS):  # the first one warms up
                started = time.process_time()
                list(engine.generate(prompt, Sampling(max_tokens=1 + written)))
                times.append(time.process_time() - started)
    return [times[1], times[2] - times[1]]


def with_libraries(source: Path, folder: Path) -> Path:
    """A copy of the installed llama_cpp in `folder`, with ggml's libraries from `source`."""
    import llama_cpp

    package = Path(llama_cpp.__file__).parent
    shutil.copytree(package, folder / "llama_cpp")
    for old in (folder / "llama_cpp" / "lib").glob("libggml*"):
        old.unlink()
    for new in source.glob("libggml*.so*"):
        shutil.copy(new, folder / "llama_cpp" / "lib")
    return folder


def compiled(folder: Path) -> Path:
    """ggml's libraries, compiled as pip would: natively, with no flags of ours."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", library.PACKAGE, "--dest", folder]
    subprocess.run([*pip, f"{library.PACKAGE}=={library.installed_version()}"], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as tar:
        tar.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").glob("*/vendor/llama.cpp/ggml")
    made = folder / "made"
    settings = ("CMAKE_BUILD_TYPE=Release", "BUILD_SHARED_LIBS=ON", "CMAKE_BUILD_WITH_INSTALL_RPATH=ON")
    flags = [f"-D{setting}" for setting in (*settings, "CMAKE_INSTALL_RPATH=$ORIGIN")]
    subprocess.run(["cmake", "-S", source, "-B", made, *flags], check=True, stdout=sys.stderr)
    subprocess.run(["cmake", "--build", made, "--parallel", "--target", "ggml"], check=True, stdout=sys.stderr)
    return made / "src"


if __name__ == "__main__":
    sys.exit(main())
