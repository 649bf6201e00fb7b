"""Mutated inputs for everything that reads bytes: `python -m tests.fuzz --cases N [--seed S] [--only TARGET]`.

Case k of a target is the same for the same seed. Half of the cases are mutated as they are; in the other half the pieces that a file is
made of are mutated, and its checksums are right again. A target may accept an input, or refuse it as its users expect. Anything else is a
defect: another exception, more than 10 s of computing, more than 1 GB. Every target runs in a process of its own, which is watched and
started again after a defect. The target `promise` is not mutated: its headers promise pictures up to the limit on pixels, and a few bytes
follow.

`--coverage SECONDS` is the same for the parsers and drawings, guided by what the inputs reach; it needs atheris (https://github.com/google/atheris).
"""

import argparse
import io
import logging
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import NamedTuple

import numpy as np
from bitstream.envelope import Envelope, headers_of, is_envelope, read_envelope, write_envelope
from bitstream.header import CELLS, CHANNELS_OF_KIND, DRAWING_KIND, PALETTE_KIND, Header, PastFields, read_header
from PIL import Image

import bitstream.outliers
import codec
import codec.mixing.bands
from bitstream.constants import CRC_BYTES, MAGIC, MAX_BAND_PIXELS, MAX_SIDE, WORD_BYTES
from bitstream.container import read_file, write_file
from bitstream.errors import IgptError
from bitstream.reader import Reader
from codec.pictures.reading import MAX_PIXELS
from tests.mutations import Pieces, flat, joined, mutated, pieces_of, rearranged, unflat

GOLDEN = Path(__file__).parent / "golden"
TINY, TINY_YCC, TINY_PALETTE = GOLDEN / "tiny", GOLDEN / "tiny-ycc", GOLDEN / "tiny-palette"
SECONDS, BYTES = 10, 1 << 30  # of a case, at most
WIDE, SMALL = 1 << 20, 1 << 12  # limits on pixels: of what is not decoded by a network, and what is
MOST_MUTATIONS = 4
MOST_PROMISED = 240, 24  # bytes of payloads; of drawings, which may honestly hold 360,000 flat pixels a byte


class Target(NamedTuple):
    """share: of all cases; seeds: what is mutated; work: gives whether an input is accepted; refusals: what it may raise;
    made: where its cases are made, not mutated."""

    share: float
    seeds: Callable[[], list[bytes]]
    work: Callable[[bytes], bool]
    refusals: tuple[type[Exception], ...] = (IgptError,)
    made: Callable[[random.Random], bytes] | None = None


class Outcome(NamedTuple):
    """Of the cases from the first of a process up to its last; seconds: of the slowest, which is case `slowest`."""

    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: int = 0
    memory: int = 0
    defects: tuple[str, ...] = ()

    def plus(self, other: "Outcome") -> "Outcome":
        slower = other if other.seconds > self.seconds else self
        return Outcome(
            self.accepted + other.accepted,
            self.refused + other.refused,
            slower.seconds,
            slower.slowest,
            max(self.memory, other.memory),
            self.defects + other.defects,
        )


def case(target: str, seed: int, k: int) -> bytes:
    """The input of case k."""
    rng = random.Random(f"{seed}/{target}/{k}")
    made = TARGETS[target].made
    if made:
        return made(rng)
    seeds = seeds_of(target)
    (data, pieces), (other, other_pieces) = rng.choice(seeds), rng.choice(seeds)
    times = rng.randrange(1, MOST_MUTATIONS + 1)
    if k % 2:
        for _ in range(times):
            pieces = rearranged(pieces, rng, other_pieces)
        return joined(pieces)
    for _ in range(times):
        data = mutated(data, rng, other)
    return data


@cache
def seeds_of(target: str) -> list[tuple[bytes, Pieces]]:
    return [(data, pieces_of(data)) for data in TARGETS[target].seeds()]


@cache
def golden() -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob("*.igpt"))]


def plain_files() -> list[bytes]:
    return [data for data in golden() if not is_envelope(data)]


def envelopes() -> list[bytes]:
    return [*filter(is_envelope, golden()), *(codec.compress(image) for image in small_images() if image.mode not in ("L", "RGB"))]


def drawings() -> list[bytes]:
    """Plain and in envelopes, of all sorts; small ones."""
    return [data for data in (*golden(), *envelopes(), *map(codec.compress, small_images())) if not model_names(data)]


def by_network() -> list[bytes]:
    return [data for data in golden() if all(name.startswith("tiny") for name in model_names(data)) and model_names(data)]


def model_names(data: bytes) -> list[str]:
    headers = headers_of(read_envelope(data)) if is_envelope(data) else [read_header(Reader(data, ""), True)]
    return [header.model_name for header in headers if not header.rows]


def small_images() -> list[Image.Image]:
    """Of every mode."""
    y, x = np.mgrid[:9, :13]
    samples = (np.stack([x * 19, y * 25, (x + y) * 11, 255 - 20 * x], -1) % 256).astype(np.uint8)
    colours = Image.fromarray(samples[..., :3])
    deep = Image.fromarray((x * 5000 + y * 77).astype(np.uint16))
    grey = Image.fromarray(samples[..., 0])
    return [
        colours,
        Image.fromarray(samples),
        grey,
        Image.fromarray(samples[..., 2:]),
        colours.quantize(7),
        grey.point(lambda v: v & 128, "1"),
        deep,
    ]


def pictures() -> list[bytes]:
    """Picture files of every format that is read."""
    files = [path.read_bytes() for path in sorted(GOLDEN.glob("*.png")) if path.stat().st_size < 3000]
    for image in small_images():
        for form, options in FORMATS.items():
            stream = io.BytesIO()
            try:
                image.save(stream, form, **options)
            except (OSError, ValueError):
                continue
            files.append(stream.getvalue())
    stream = io.BytesIO()
    small_images()[0].save(stream, "TIFF", compression="tiff_lzw", icc_profile=b"profile", dpi=(72, 72))
    return [*files, stream.getvalue()]


FORMATS = {
    "PNG": {"dpi": (72, 72), "icc_profile": b"profile"},
    "PPM": {},
    "BMP": {},
    "TIFF": {},
    "GIF": {},
    "WEBP": {"lossless": True, "exact": True, "exif": b"Exif\0\0x", "xmp": b"<x/>"},
    "JPEG": {},
}


def container(data: bytes) -> bool:
    read_file(data, enclosed=data[-1:] > b"\x7f")
    return True


def header(data: bytes) -> bool:
    codec.largest_file(data)
    codec.info(data)
    return True


def envelope(data: bytes) -> bool:
    found = read_envelope(data)
    headers_of(found)
    if read_envelope(write_envelope(found)) != found:
        msg = "an envelope is written otherwise than read"
        raise AssertionError(msg)
    return True


def drawing(data: bytes) -> bool:
    codec.decompress_picture(data, device="cpu", max_pixels=WIDE)
    return True


def network(data: bytes) -> bool:
    """With the tiny model that the header names, or should name."""
    header = read_envelope_header(data)
    model = {2: TINY_YCC, PALETTE_KIND: TINY_PALETTE}.get(header, TINY)
    codec.decompress_picture(data, model=model, device="cpu", max_pixels=SMALL)
    return True


def read_envelope_header(data: bytes) -> int:
    """The kind in the first header, -1 where there is none."""
    try:
        part = read_envelope(data).parts[0] if is_envelope(data) else data
        return read_header(Reader(part, ""), True).kind
    except IgptError:
        return -1


def opened_picture(data: bytes) -> bool:
    """What is accepted comes back from a PNG of it, and its chunks can be kept or are refused."""
    from codec.pictures.outputs import png_of
    from codec.pictures.reading import open_picture

    picture = open_picture(io.BytesIO(data), WIDE)
    again = open_picture(io.BytesIO(png_of(picture)), WIDE)
    if again.form != picture.form or not np.array_equal(again.pixels, picture.pixels) or again.plain != picture.plain:
        msg = "another picture came back"
        raise AssertionError(msg)
    return True


def plugin(data: bytes) -> bool:
    codec.register_igpt_opener()
    with Image.open(io.BytesIO(data)) as image:
        if image.format != "IGPT" or image.width * image.height > WIDE:
            return False
        image.load()
    return True


def command(data: bytes) -> bool:
    from typer.testing import CliRunner

    import cli

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        source.write_bytes(data)
        if data.startswith(MAGIC[:4]):
            some = (["info", "--json"], ["verify", "--model", str(TINY), "--max-pixels", "4096"])[len(data) % 2]
        else:
            some = ["compress", "-o", f"{folder}/out", "--model", str(TINY), "--max-pixels", "4096"]
        result = CliRunner().invoke(cli.app, [some[0], str(source), *some[1:]])
        left = sorted(path.name for path in Path(folder).iterdir())
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code not in (0, 1) or (result.exit_code and result.stderr.count("igpt: ") != 1):
        msg = f"exit code {result.exit_code}: {result.stderr}"
        raise AssertionError(msg)
    if left != ["in", "out"][: 1 + (some[0] == "compress" and not result.exit_code)]:
        msg = f"left behind: {left}"
        raise AssertionError(msg)
    return not result.exit_code


def promising(rng: random.Random) -> bytes:
    """A file of at most some 300 bytes whose header promises a picture of up to MAX_PIXELS, all checksums right."""
    kind = rng.choice((0, 1, 2, 3, 3, 3, 4))
    pixels = int(2 ** rng.uniform(10, np.log2(MAX_PIXELS)))
    width = min(MAX_SIDE, rng.choice((1, 32, int(pixels**0.5), int(2 ** rng.uniform(0, 24)), pixels)))
    height = min(MAX_SIDE, max(1, pixels // width))
    fields = {"width": width, "height": height, "kind": kind, "bit_depth": 8, "pixel_digest": bytes(16)}
    enclosed = kind == DRAWING_KIND and rng.random() < 0.7
    channels = rng.choice(CHANNELS_OF_KIND[kind]) if enclosed or kind != DRAWING_KIND else rng.choice((1, 3))
    depth = rng.choice((8, 16)) if enclosed else 8
    if kind == DRAWING_KIND:
        rows = min(height, max(1, MAX_BAND_PIXELS // width))
        fields |= {"rows": rows, "bit_depth": depth, "numerics_version": rng.choice((1, 2) if depth == 8 else (2, 3))}
    else:
        folder = {2: TINY_YCC, PALETTE_KIND: TINY_PALETTE}.get(kind, TINY)
        fields |= {"tile_side": 32, "tiles_per_group": rng.choice((1, 16, 64) if kind == PALETTE_KIND else (1, 256, 4096, 4096))}
        fields |= {"model_digest": model_digest(folder), "model_name": folder.name}
    if kind == 2:
        formula, filter_ = rng.randrange(2), rng.randrange(len(CELLS))
        down, across = CELLS[filter_]
        fields["past"] = PastFields(formula, filter_, 0, 0, 0, -(-width // across), -(-height // down))
    elif kind == PALETTE_KIND and rng.random() < 0.5:
        fields |= {"refinement_digest": model_digest(TINY), "refinement_name": TINY.name}
    head = Header(channels=channels, **fields)
    left, payloads = MOST_PROMISED[kind == DRAWING_KIND], []
    for k, least in zip(range(min(head.chunks, 50)), head.least_bytes(), strict=False):
        words = WORD_BYTES if head.in_words(k) else 1
        size = rng.choice((0, least, least, least + rng.randrange(16), rng.randrange(100)))
        size = -(-min(size, left) // words) * words if head.past is None or k else 0
        contents = [rng.randbytes(size), b"\xff" * size]
        if kind != DRAWING_KIND:
            contents += [bytes(size), rng.randbytes(size // 2) + bytes(size - size // 2)]
        payloads.append(rng.choice(contents))
        left = max(0, left - size - CRC_BYTES - 1)
    data = write_file(head, payloads)
    if not enclosed:
        return data
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    levels = (0, 70, 65535) if depth == 8 and rng.random() < 0.3 else ()
    return write_envelope(Envelope(colour, 16 if levels else depth, (), (data,), levels))


@cache
def model_digest(folder: Path) -> bytes:
    """Of a tiny model, as the golden files name it."""
    headers = [read_header(Reader(data, ""), True) for data in by_network() if not is_envelope(data)]
    return next(header.model_digest for header in headers if header.model_name == folder.name)


def promise(data: bytes) -> bool:
    """With the tiny models, and no other limit on pixels than everybody's."""
    kind = read_envelope_header(data)
    if kind == DRAWING_KIND:
        codec.decompress_picture(data, device="cpu")
    else:
        codec.decompress_picture(data, model={2: TINY_YCC, PALETTE_KIND: TINY_PALETTE}.get(kind, TINY), device="cpu")
    return True


FOREIGN_REFUSALS = (OSError, SyntaxError, Image.DecompressionBombError)  # UnidentifiedImageError is an OSError
TARGETS = {
    "container": Target(0.28, plain_files, container),
    "header": Target(0.15, golden, header),
    "envelope": Target(0.20, envelopes, envelope),
    "drawing": Target(0.08, drawings, drawing),
    "network": Target(0.005, by_network, network),
    "picture": Target(0.2, pictures, opened_picture),
    "plugin": Target(0.08, lambda: [*drawings(), *by_network()], plugin, FOREIGN_REFUSALS),
    "promise": Target(0.05, by_network, promise, made=promising),
    "command": Target(0.005, lambda: [*drawings(), *by_network(), *pictures()], command),
}


def outcome(target: str, seed: int, k: int) -> Outcome:
    """Of one case, in this process."""
    data = case(target, seed, k)
    before, held = most_memory(), resident(os.getpid())
    start = time.process_time()
    accepted, defect = False, ""
    try:
        accepted = TARGETS[target].work(data)
    except TARGETS[target].refusals:
        pass
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        defect = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
    seconds = time.process_time() - start  # the machine may be busy with other things
    memory = most_memory() - held if most_memory() > before else 0  # less than the process has had before cannot be seen
    if not defect and memory > BYTES:
        defect = f"{memory >> 20} MB"
    if not defect and seconds > SECONDS:
        defect = f"{seconds:.1f} s"
    defects = (f"{target} {k}: {defect}",) if defect else ()
    return Outcome(int(accepted and not defect), int(not accepted and not defect), seconds, k, memory, defects)


def here(target: str, seed: int, cases: Sequence[int]) -> Outcome:
    """Of several cases, in this process, unwatched."""
    whole = Outcome()
    for k in cases:
        whole = whole.plus(outcome(target, seed, k))
    return whole


def _worker(target: str, seed: int, first: int, last: int, connection, now) -> None:
    """Sends outcomes of blocks of cases; `now` is the case at work, -1 before the first."""
    warnings.simplefilter("ignore")  # of Pillow, when it tries its formats
    logging.disable()
    for data, _ in seeds_of(target):  # compiles and loads what is needed
        try:
            TARGETS[target].work(data)
        except TARGETS[target].refusals:
            pass
    whole = Outcome()
    for k in range(first, last):
        now.value = k
        one = outcome(target, seed, k)
        whole = whole.plus(one)
        if one.defects or k % 1000 == 999 or k == last - 1:
            connection.send((k, whole))
            whole = Outcome()
            if one.memory > BYTES:
                return
    connection.close()


def watched(target: str, seed: int, cases: int) -> Outcome:
    """Of cases 0 to cases - 1, in processes that are killed when a case takes too long or too much memory."""
    context = multiprocessing.get_context("spawn")
    whole, first = Outcome(), 0
    while first < cases:
        receiver, sender = context.Pipe(False)
        now = context.Value("q", -1)
        process = context.Process(target=_worker, args=(target, seed, first, cases, sender, now))
        process.start()
        sender.close()
        at, since, waited, done, stopped = -1, 0.0, 0.0, first - 1, ""
        while not stopped and done < cases - 1:
            try:
                if receiver.poll(0.1):
                    done, part = receiver.recv()
                    whole = whole.plus(part)
                    continue
            except EOFError:
                process.join()
                if done < now.value and not process.exitcode:
                    stopped = "the process ended"
                elif process.exitcode:
                    stopped = f"the process ended with {process.exitcode}"
                break
            if now.value != at:
                at, since, waited = now.value, computed(process.pid), time.monotonic()
            elif at >= 0 and (computed(process.pid) - since > SECONDS or time.monotonic() - waited > 20 * SECONDS):
                stopped = f"more than {SECONDS} s"
            if resident(process.pid) > BYTES + (BYTES >> 3):
                stopped = "more than 1 GB"
        if stopped:
            process.kill()
            lost = max(now.value, first)
            whole = whole.plus(Outcome(defects=(f"{target} {lost}: {stopped}",)))
            done = lost
        process.join()
        first = done + 1
    return whole


def most_memory() -> int:
    """Bytes that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def resident(pid: int | None) -> int:
    """Bytes in memory; 0 where that is not to be had."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def computed(pid: int | None) -> float:
    """Seconds that a process has computed; 0 where that is not to be had."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def shares(cases: int, only: str | None = None) -> Iterator[tuple[str, int]]:
    """Targets and how many of the cases each gets."""
    for name, target in TARGETS.items():
        if only in (None, name):
            yield name, cases if only else max(1, round(cases * target.share))


def table(outcomes: dict[str, tuple[int, Outcome]]) -> str:
    lines = ["| target | cases | accepted | refused | defects | slowest, s | largest memory, MB |", "|---" + "|---:" * 6 + "|"]
    for name, (cases, o) in outcomes.items():
        figures = f"{cases:,} | {o.accepted:,} | {o.refused:,} | {len(o.defects)} | {o.seconds:.2f} (case {o.slowest}) | {o.memory >> 20}"
        lines.append(f"| {name} | {figures} |")
    return "\n".join([*lines, *(f"\n{defect}" for _, o in outcomes.values() for defect in o.defects)]) + "\n"


def guided(data: bytes) -> None:
    """Raises what no target may raise."""
    file = joined(unflat(data))
    for work in (container, header, envelope, drawing):
        try:
            work(file)
        except IgptError:
            pass


def by_coverage(seconds: int) -> None:
    """Ends the process."""
    import atheris

    modules = (bitstream.container, bitstream.envelope, bitstream.outliers, bitstream.header, bitstream.reader, codec, codec.mixing.bands)
    for place in (*modules, bitstream.reader.Reader):
        for function in vars(place).values():
            if isinstance(function, FunctionType) and function.__module__ in {module.__name__ for module in modules}:
                function.__code__ = atheris.instrument_func(function).__code__
    with tempfile.TemporaryDirectory() as folder:
        for k, data in enumerate((*drawings(), *by_network())):
            if len(data) < 1 << 13:
                (Path(folder) / str(k)).write_bytes(flat(pieces_of(data)))
        guided((Path(folder) / "0").read_bytes())
        atheris.Setup([sys.argv[0], folder, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=8192"], guided)
        atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TARGETS)
    parser.add_argument("--coverage", type=int, metavar="SECONDS")
    arguments = parser.parse_args()
    if arguments.coverage:
        by_coverage(arguments.coverage)
    outcomes = {}
    for name, cases in shares(arguments.cases, arguments.only):
        outcomes[name] = cases, watched(name, arguments.seed, cases)
        print(table({name: outcomes[name]}).splitlines()[2], file=sys.stderr, flush=True)
    print(table(outcomes))
    sys.exit(any(o.defects for _, o in outcomes.values()))


if __name__ == "__main__":
    main()
