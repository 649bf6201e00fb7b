"""Checks a decoder against the golden files: `python -m tests.conformance COMMAND [--seconds N] [NAME ...]`.

COMMAND is run as `COMMAND IN OUT` for every file. What it must write, and how it refuses a file, is in `golden/README.md`. Needs Python's
standard library only. Ends with 0 if all is as it must be, else with 1.
"""

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = GOLDEN / "expected.json"
REFUSED = 3  # the exit status of a command that refuses a file
SECONDS = 60  # for one file


def output(colour: int, bits: int, width: int, height: int, samples: bytes, chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What a decoder writes of a picture. colour, bits: the colour type and the bits per sample; samples: rows from the top, pixels from
    the left, channels interleaved, those of 16 bits with the low byte first; chunks: (name, body) of PNG chunks, PLTE with the palette,
    and an empty IDAT, which may be missing where it comes last."""
    whole = [*chunks]
    if b"IDAT" not in dict(whole):
        whole.append((b"IDAT", b""))
    packed = b"".join(len(body).to_bytes(4, "big") + name + body for name, body in whole)
    return f"{colour} {bits} {width} {height}\n".encode() + samples + packed


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def difference(expected: dict, found: bytes) -> str:
    """What is not as it is expected of a valid file; empty where all is."""
    if "file" in expected:
        return "" if digest(found) == expected["file"] else f"the file, of {len(found)} bytes instead of {expected['bytes']}"
    header, _, rest = found.partition(b"\n")
    wanted = " ".join(str(expected[name]) for name in ("colour", "bits", "width", "height"))
    if header != wanted.encode():
        return f"the header is {header[:40]!r} instead of '{wanted}'"
    parts = rest[: expected["bytes"]], rest[expected["bytes"] :]
    return ", ".join(name for name, part in zip(("samples", "chunks"), parts, strict=True) if digest(part) != expected[name])


def verdict(command: Sequence[str], name: str, expected: dict | str, seconds: float) -> tuple[str, str]:
    """Of one file: ok, differs, refused, not refused, crashed or too slow; and more, for people. expected: see `golden/README.md`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        try:
            ran = subprocess.run([*command, str(GOLDEN / f"{name}.igpt"), str(out)], capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return "too slow", ""
        said = (ran.stderr.decode(errors="replace").strip().splitlines() or [""])[-1][:200]
        if ran.returncode not in (0, REFUSED):
            return "crashed", f"exit status {ran.returncode}: {said}"
        if isinstance(expected, str):
            return ("ok", f"{expected}: {said}") if ran.returncode else ("not refused", expected)
        if ran.returncode:
            return "refused", said
        if not out.is_file():
            return "differs", "it wrote nothing"
        found = difference(expected, out.read_bytes())
        return ("differs", found) if found else ("ok", "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description="Checks a decoder of igpt files.")
    parser.add_argument("command", metavar="COMMAND", help="run as COMMAND IN OUT")
    parser.add_argument("names", metavar="NAME", nargs="*", default=["*"], help="only files whose names match; * stands for anything")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for one file (default: %(default)s)")
    asked = parser.parse_args(arguments)
    known = json.loads(EXPECTED.read_text())
    every = {**known["valid"], **known["refused"]}
    some = {name: expected for name, expected in every.items() if any(fnmatch(name, pattern) for pattern in asked.names)}
    if not some:
        parser.error("no file has such a name")
    verdicts, began = Counter[str](), time.monotonic()
    for name, expected in some.items():
        start = time.monotonic()
        found, more = verdict(shlex.split(asked.command), name, expected, asked.seconds)
        print(f"{found:11} {time.monotonic() - start:7.1f} s  {name}{f'  ({more})' if more else ''}", flush=True)
        verdicts[found] += 1
    counts = ", ".join(f"{count} {found}" for found, count in verdicts.most_common())
    print(f"{len(some)} of {len(every)} files in {time.monotonic() - began:.0f} s: {counts}")
    return int(verdicts["ok"] < len(some))


if __name__ == "__main__":
    sys.exit(main())
