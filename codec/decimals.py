"""Decimal arithmetic that the host cannot set: tables of the format are made with it."""

from contextlib import AbstractContextManager
from decimal import ROUND_HALF_EVEN, Context, DivisionByZero, InvalidOperation, Overflow, localcontext


def exactly(digits: int) -> AbstractContextManager[Context]:
    """So many digits, and all else as Python has it where nobody has changed it."""
    traps = [DivisionByZero, InvalidOperation, Overflow]
    return localcontext(Context(digits, ROUND_HALF_EVEN, -999999, 999999, capitals=1, clamp=0, flags=[], traps=traps))
