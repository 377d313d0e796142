#!/bin/sh
# Builds llama.cpp's own tools, which the benchmarks compare with, from the source archive of the installed
# llama-cpp-python: the same source as the library in use. Each is built once, for this machine, into LQMF's cache.
#
#     bench/peers.sh            builds what is missing, and prints the path of each tool
#     PYTHON=... JOBS=... bench/peers.sh
set -eu

TOOLS="llama-quantize llama-imatrix llama-perplexity llama-bench"
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ ! -x "$root/.venv/bin/python" ] || PYTHON="$root/.venv/bin/python"
fi
cd "$root"
version=$("$PYTHON" -c 'from lqmf.quantization.gguf import toolchain; print(toolchain.installed_version() or "")')
[ -n "$version" ] || { echo "llama-cpp-python is not installed: make setup" >&2; exit 1; }
home=$("$PYTHON" -c 'from lqmf.quantization.gguf import toolchain; print(toolchain.cache_dir() / "peers")')/$version

missing=
for tool in $TOOLS; do
    [ -x "$home/$tool" ] || missing="$missing $tool"
done

if [ -n "$missing" ]; then
    command -v cmake >/dev/null || { echo "cmake is needed: apt install cmake g++, or pip install cmake" >&2; exit 1; }
    mkdir -p "$home"
    work=$home/.build
    if [ ! -f "$work/llama.cpp/CMakeLists.txt" ]; then
        rm -rf "$work"
        mkdir -p "$work/archive"
        "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
            --dest "$work/archive" "llama-cpp-python==$version" >&2
        tar -xzf "$work"/archive/*.tar.gz -C "$work/archive" "llama_cpp_python-$version/vendor/llama.cpp"
        mv "$work/archive/llama_cpp_python-$version/vendor/llama.cpp" "$work/llama.cpp"
    fi
    cmake -S "$work/llama.cpp" -B "$work/made" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON \
        -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_COMMON=ON -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_OPENSSL=OFF >&2
    for tool in $missing; do  # each is in place as soon as it is built
        cmake --build "$work/made" --target "$tool" --parallel "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" >&2
        cp "$work/made/bin/$tool" "$home/.$tool.part"
        mv "$home/.$tool.part" "$home/$tool"
    done
    rm -rf "$work"
fi

for tool in $TOOLS; do
    echo "$home/$tool"
done
