"""`python -m lqmf` is `lqmf`."""

from lqmf.cli.main import main

if __name__ == "__main__":
    main()
