"""Signals that ask a run to stop, so that it cleans up after itself."""

stopped: list[int] = []  # signals that have arrived


def stop(number: int, _: object) -> None:
    """A signal's handler. Raises SystemExit."""
    stopped.append(number)
    leave_if_stopped()


def leave_if_stopped() -> None:
    """Also called while work goes on: an exception that a signal raises amid a compilation is lost. Raises SystemExit."""
    if stopped:
        raise SystemExit(128 + stopped[0])
