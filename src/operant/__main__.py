"""`python -m operant` is the command `operant`."""

from operant.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
