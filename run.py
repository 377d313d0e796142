"""`python run.py` from a checkout is `lqmf`."""

from lqmf.cli.main import main

if __name__ == "__main__":
    main()
