"""Prints requirements.txt: what `pip install lqmf` needs, all of it, at the versions of constraints.txt."""

import re
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str, seen: set[str]) -> set[str]:
    """`name` and all that it needs here, extras left out."""
    try:
        needs = [Requirement(line) for line in requires(name) or []]
    except PackageNotFoundError:
        return seen
    for need in needs:
        key = canonical(need.name)
        if key not in seen and (need.marker is None or need.marker.evaluate({"extra": ""})):
            seen.add(key)
            closure(key, seen)
    return seen


def main() -> None:
    """Write the pins of the closure of lqmf to standard output."""
    lines = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonical(line.split("==")[0]): line for line in lines if "==" in line}
    needed = closure("lqmf", set())
    sys.stdout.write("# Written by `make requirements` from constraints.txt.\n")
    sys.stdout.writelines(f"{pins[name]}\n" for name in sorted(needed & pins.keys()))


if __name__ == "__main__":
    main()
