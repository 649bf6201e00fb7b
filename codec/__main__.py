"""`python -m codec` is the command igpt."""

from cli import main

if __name__ == "__main__":
    main()
