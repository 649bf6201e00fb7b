"""`python -m igpt` is the command `igpt`."""

import os
import sys


def main() -> None:
    """What lies in the present folder is the user's, a codec.py, say, unless igpt itself does."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != os.path.realpath(here):
        del sys.path[0]
    from cli import main

    main()


if __name__ == "__main__":
    main()
