"""`python -m lqmf.utils.llm_cli status`: the same as `lqmf llm status`, by the module's name. Knows nothing itself."""

from __future__ import annotations

import sys


def main() -> int:
    """Run `lqmf llm` with the arguments of this process; returns the exit code."""
    from lqmf.cli.shell import run

    return run(["llm", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
