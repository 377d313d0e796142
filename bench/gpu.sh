#!/bin/sh
# GPTQ and nf4 made and run on a CUDA GPU under an 8 GB limit, against the CPU, as one table. Takes bench/gpu.py's options.
# Without a GPU it says so and exits 0.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3
exec "$python" -m bench.gpu "$@"
