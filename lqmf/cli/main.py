"""The console script. `--version` answers before anything is imported; everything else goes to `shell`."""

from __future__ import annotations

import sys

from lqmf.version import VERSION


def main() -> None:
    """Run `lqmf` with the arguments of this process, and end it with the exit code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        print(f"lqmf {VERSION}")  # noqa: T201 - nothing is imported on this path, not even the printer
        return
    from lqmf.cli.shell import run

    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
