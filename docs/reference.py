"""The reference of the library, HTML made of its docstrings: `python -W error -m docs.reference [FOLDER]`, by default build/reference."""

import sys
from pathlib import Path

import pdoc

import igpt


def main() -> None:
    for name in igpt.__all__:  # which are imported at their first use; pdoc takes what is there
        setattr(igpt, name, getattr(igpt, name))
    pdoc.render.configure(search=False, show_source=False)
    pdoc.pdoc("igpt", "igpt.torch", output_directory=Path(sys.argv[1] if len(sys.argv) > 1 else "build/reference"))


if __name__ == "__main__":
    main()
