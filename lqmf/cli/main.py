"""The console script. `--version` answers before anything is imported; everything else goes to `shell`."""

from __future__ import annotations

import os
import sys

from lqmf.version import VERSION


def main() -> None:
    """Run `lqmf` with the arguments of this process, and end it with the exit code."""
    _open_streams()
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        _say(f"lqmf {VERSION}\n")
        return
    from lqmf.cli.shell import run

    sys.exit(run(arguments))


def _open_streams() -> None:
    """Lead the standard streams that a shell closed (`>&-`) to the null device: no file may be opened in their place,
    for libraries write there."""
    for place, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "w" if place else "r"
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))  # noqa: SIM115


def _say(text: str) -> None:
    """Print, on a path on which nothing is imported, not even the printer. Ends the process with 1 where that
    fails."""
    try:
        os.write(1, text.encode())
    except OSError:
        sys.exit(1)


if __name__ == "__main__":
    main()
