"""Mutated inputs for everything that reads bytes: `python -m tests.fuzz --cases N [--seed S] [--only TARGET]`.

Case k of a target is the same for the same seed. Half of the cases are mutated as they are; in the other half the pieces that a file is
made of are mutated, and its checksums are right again. A target may accept an input, or refuse it as its users expect. Anything else is a
defect: another exception, more than 10 s of computing, more than 1 GB. Every target runs in a process of its own, which is watched and
started again after a defect. The target `promise` is not mutated: its heads promise pictures up to the limit on pixels, and a few bytes
follow.

`--coverage SECONDS` is the same for the parsers and mixing, guided by what the inputs reach; it needs atheris (https://github.com/google/atheris).
"""

import argparse
import io
import itertools
import logging
import multiprocessing
import os
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import NamedTuple

import numpy as np
from PIL import Image

import bitstream.container
import bitstream.metadata
import bitstream.outliers
import bitstream.palette
import bitstream.reader
import codec
import codec.mixing.bands
import codec.representations
from bitstream.constants import MAGIC, MAX_KEPT_BYTES, MAX_OUTLIER_SHARE, MAX_SIDE, WORD_BYTES
from bitstream.container import LEVELS, METADATA, PALETTE, SIZE, Coding, Front, Head, largest_file, read, written
from bitstream.errors import IgptError
from bitstream.form import DEPTHS, KEPT, RGB, Form
from bitstream.form import PALETTE as PALETTE_COLOUR
from bitstream.reader import varint
from codec import models
from codec.compression import compress_picture
from codec.decompression import decompress_file
from codec.inside.antecedent import DECODERS, Layout
from codec.jpeg import rest
from codec.jpeg.entropy import Coefficients
from codec.jpeg.file import Place, pictures_in
from codec.jpeg.file import joined as put_together
from codec.jpeg.picture import Walk
from codec.methods import METHODS, method_of
from codec.methods.inside import DecodedJpeg
from codec.methods.inside import Fields as InsideFields
from codec.methods.jpeg import Fields as JpegFields
from codec.methods.jpeg import JpegFiles
from codec.methods.method import Method, ModelName, Part
from codec.methods.mixing import DeepMixing
from codec.methods.network import Fields as NetworkFields
from codec.methods.network import Network
from codec.methods.palette import Fields as PaletteFields
from codec.methods.palette import PublishedPalette
from codec.methods.past import HAS_OUTLIERS, PastMethod
from codec.methods.past import Fields as PastFields
from codec.options import Options
from codec.pasts.chroma import FILTERS, Sampling
from codec.pasts.colour import FORMULAS
from codec.pictures.reading import MAX_PIXELS
from codec.representations import meant, picture_boxes
from codec.tiling.tiles import Shape
from tests import seeds
from tests.conftest import TINY, TINY_DCT, TINY_OTHER, TINY_PALETTE, TINY_YCC, TINY_YCC_OTHER
from tests.forged import claiming
from tests.mutations import Pieces, flat, joined, mutated, pieces_of, rearranged, unflat
from tests.seeds import tiny_models

SECONDS, BYTES = 10, 1 << 30  # of a case, at most
WIDE, SMALL = 1 << 20, 1 << 12  # limits on pixels: of what is not decoded by a network, and what is
MOST_MUTATIONS = 4
CODES = [bytes((k,)) + bytes.fromhex(rest.DC_CODES[0]) + bytes(range(12)) for k in (0, 16)]  # Huffman tables
MOST_PROMISED = 240, 24  # bytes of payloads; of mixing, which may honestly hold 360,000 flat pixels a byte
ASKED_CHUNKS = 1000  # of a part


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


def bodies(kind: int) -> list[bytes]:
    """Of boxes: the byte of the form, then the body."""
    fronts = [read(data).front for data in seeds.files()]
    return [front.head.to_bytes()[-9:-8] + front.boxes[kind] for front in fronts if kind in front.boxes]


def fields() -> list[bytes]:
    """Of codings: two bytes of the size, then the coding."""
    fronts = [read(data).front for data in seeds.files()]
    return [bytes((front.head.width, front.head.height)) + coding.to_bytes() for front in fronts for coding in front.codings]


def outlier_payloads() -> list[bytes]:
    with_outliers = (read(data) for data in seeds.with_models() if read(data).front.codings[0].method == PastMethod.number)
    return [file.chunks[0] for file in with_outliers if file.front.codings[0].fields[0] & HAS_OUTLIERS]


def container(data: bytes) -> bool:
    """What is accepted is read again from what is written of it."""
    front, chunks = read(data)
    lengths = [len(chunk) for chunk in chunks]
    same = list(front.lengths()) == lengths[:-1] and len(data) == front.size + sum(lengths) + 4 * len(lengths)
    again = read(written(front.head, front.boxes, front.codings, chunks))
    known = {kind: body for kind, body in front.boxes.items() if kind in bitstream.container.KNOWN}
    require(same and [*again.chunks] == [*chunks] and again.front[:3] == (front.head, known, front.codings), "another file came back")
    return True


def require(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def front(data: bytes) -> bool:
    largest_file(data)
    codec.info(data)
    return True


def metadata_box(data: bytes) -> bool:
    colour = form_in(data).colour
    chunks = bitstream.metadata.unpack(data[1:], colour)
    again = bitstream.metadata.unpack(bitstream.metadata.pack(chunks, colour), colour)
    require(again == chunks, "other chunks came back")
    return True


def form_in(data: bytes) -> Form:
    """Of the first byte; one that there is."""
    byte = data[0] if data else 0
    form = Form(byte & 7, 1 << (byte >> 3 & 7))
    return form if form.known else Form(RGB, 8)


def palette_box(data: bytes) -> bool:
    entries = bitstream.palette.unpack(data[1:])
    require(3 <= len(entries) <= 3 * 256 and len(entries) % 3 == 0, f"a palette of {len(entries)} bytes")
    require(bitstream.palette.unpack(bitstream.palette.pack(entries)) == entries, "another palette came back")
    return True


def levels_box(data: bytes) -> bool:
    """What is accepted has ascending levels, which stand for ranks."""
    form = form_in(data)
    front = Front(Head(3, 2, form, bytes(8)), {LEVELS: data[1:]}, (Coding(0),), b"", 0)
    is_meant = meant(front)
    for table in is_meant.levels.values():
        require(bool((np.diff(table.astype(np.int64)) > 0).all()), "the levels do not ascend")
    ranks = np.zeros((2, 3, form.channels), np.uint8 if is_meant.depth == 8 else np.uint16)
    require(is_meant.samples(ranks, front).shape == ranks.shape, "the ranks stand for no samples")
    return True


def coding_fields(data: bytes) -> bool:
    """Of a large picture, too: nothing takes long before chunks are there."""
    if len(data) < 3:
        return False
    coding = Coding(data[2] & 31, data[2] >> 5, data[3:])
    method, accepted = method_of(coding), False
    for width, height in (data[:2], (MAX_SIDE, MAX_SIDE)):
        for channels, depth in ((1, 8), (3, 8), (4, 8), (1, 1), (1, 16), (3, 16)):
            part = Part(max(1, width), max(1, height), channels, depth, coding)
            try:
                least = [*itertools.islice(method.least_bytes(part), ASKED_CHUNKS)]
            except IgptError:
                continue
            accepted = True
            require(len(least) > 0 and min(least) >= 0 and method.layer_samples(part) >= part.width * part.height, "a part without chunks")
            require(len(method.description(part)) > 0 and all(len(model.digest) == 16 for model in method.models(part)), "no description")
    return accepted


def outliers(data: bytes) -> bool:
    pixels = 33 * 20
    positions, corrections = bitstream.outliers.unpack(data, pixels, pixels // MAX_OUTLIER_SHARE)
    require(bool((np.diff(positions) > 0).all()) and (positions < pixels).all() and len(positions) == len(corrections), "no outliers")
    return True


def mixing(data: bytes) -> bool:
    """And storing: all that needs no model."""
    decompress_file(read(data), Options(device="cpu", max_pixels=WIDE))
    return True


def network(data: bytes) -> bool:
    """All that needs one of the tiny models."""
    with tiny_models():
        decompress_file(read(data), Options(device="cpu", max_pixels=SMALL))
    return True


def opened_picture(data: bytes) -> bool:
    """What is accepted comes back from a PNG of it, and its chunks from an igpt file's boxes, or they are refused."""
    from codec.pictures.outputs import png_of
    from codec.pictures.reading import open_picture

    picture = open_picture(io.BytesIO(data), WIDE)
    again = open_picture(io.BytesIO(png_of(picture)), WIDE)
    require(again.form == picture.form and np.array_equal(again.pixels, picture.pixels), "another picture came back")
    boxes = picture_boxes(picture)
    height, width, _ = picture.pixels.shape
    is_meant = meant(Front(Head(width, height, picture.form, bytes(8)), boxes, (Coding(0),), b"", 0))
    whole = [chunks[: len(chunks) - (chunks[-1:] == ((b"IDAT", b""),))] for chunks in (picture.chunks, again.chunks, is_meant.chunks)]
    require(whole[0] == whole[1] == whole[2], "other chunks came back")
    return True


def jpeg(data: bytes) -> bool:
    """Whatever it is: it comes back, and is hardly larger."""
    from codec.pictures.reading import picture_in

    if not data.startswith(b"\xff\xd8\xff"):
        return False
    with tiny_models():
        packed = compress_picture(picture_in(data), Options(device="cpu"))
        found = codec.jpeg_file(packed, device="cpu")
    require(len(packed) <= len(data) + 64, f"{len(packed) - len(data)} bytes more")
    require(found == data, "another file came back")
    return True


def scans(data: bytes) -> bool:
    """Whatever it is: it is put together from its coefficients and its rest. With another rest that is refused, or has as many bytes."""
    pictures, left = pictures_in(data)
    places = [Place(start, taken.code, 1, taken.unusual) for start, taken in pictures]

    def decode(found: Walk, number: int) -> Coefficients:
        known = pictures[number][1].coefficients
        return known if len(known) == found.frame.blocks else np.ones((found.frame.blocks, 64), np.int16)

    require(put_together(left, places, decode) == data, "another file came back")
    damaged, at = bytearray(left), zlib.crc32(data)
    if damaged:
        damaged[at % len(left)] ^= 1 + at % 255
        try:
            found = put_together(bytes(damaged), places, decode)
        except IgptError:
            return bool(pictures)
        require(len(found) == len(data), "a file of another size came back")
    return bool(pictures)


def plugin(data: bytes) -> bool:
    codec.register_igpt_opener()
    with tiny_models(), Image.open(io.BytesIO(data)) as image:
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
        if data.startswith(MAGIC):
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
    """A file of at most some 300 bytes whose head promises a picture of up to MAX_PIXELS, all checksums right."""
    method = rng.choice(METHODS)
    if isinstance(method, JpegFiles):
        return promising_jpeg(rng)
    deep, by_tiles = isinstance(method, DeepMixing), isinstance(method, Network | PastMethod | PublishedPalette)
    form = rng.choice([form for form in promised_forms() if rng.random() < 0.05 or (form.depth == 16) == deep])
    pixels = int(2 ** rng.uniform(10, np.log2(MAX_PIXELS)))
    width = min(MAX_SIDE, rng.choice((1, 32, int(pixels**0.5), int(2 ** rng.uniform(0, 24)), pixels)))
    if form.depth == 16 and rng.random() < 0.9:
        width = min(width, 1 << 20)
    height = min(MAX_SIDE, max(1, pixels // width))
    if by_tiles and rng.random() < 0.9:
        form = Form(RGB, 8)
    coding = Coding(method.number, rng.randrange(2) if deep else 0, promised_fields(method, rng))
    left, payloads = MOST_PROMISED[not by_tiles], []
    part = Part(width, height, form.channels, form.depth, coding)
    try:
        wanted = [*itertools.islice(method.least_bytes(part), 50)]
    except IgptError:
        wanted = [4]
    for least in wanted:
        words = WORD_BYTES if by_tiles else 1
        size = rng.choice((0, least, least, least + rng.randrange(16), rng.randrange(100)))
        size = -(-min(size, left) // words) * words
        contents = [rng.randbytes(size), b"\xff" * size]
        if by_tiles:
            contents += [bytes(size), rng.randbytes(size // 2) + bytes(size - size // 2)]
        payloads.append(rng.choice(contents))
        left = max(0, left - size - 5)
    boxes = {PALETTE: bitstream.palette.pack(bytes(range(30)))} if form.colour == PALETTE_COLOUR else {}
    return claiming(width, height, form, coding, payloads, boxes)


def promising_jpeg(rng: random.Random) -> bytes:
    """The same of a JPEG file: of many blocks or bytes."""
    width, height = (min(65535, int(2 ** rng.uniform(3, 16.5))) for _ in range(2))
    sampling = b"".join(bytes((k, rng.choice((0x11, 0x22, 0x41, 0x44)), 0)) for k in range(rng.randrange(1, 5)))
    frame = struct.pack(">BHHB", 8, height, width, len(sampling) // 3) + sampling
    scan = bytes((len(sampling) // 3,)) + b"".join(bytes((k, 0)) for k in range(len(sampling) // 3)) + b"\0\x3f\0"
    start = b"\xff\xd8" + b"".join(
        b"\xff" + bytes((marker,)) + struct.pack(">H", 2 + len(body)) + body
        for marker, body in ((rng.choice((0xC0, 0xC2)), frame), *((0xC4, table) for table in CODES), (0xDA, scan))
    )
    sizes = [rng.randrange(MOST_PROMISED[1] // 4) for _ in range(rng.randrange(1, 5))]
    chunks = [rng.choice((rng.randbytes(size), bytes(size), b"\xff" * size)) for size in sizes]
    code = min(int(2 ** rng.uniform(4, 28)), MAX_KEPT_BYTES - len(start))
    fields = JpegFields([Place(0, code, len(chunks), [])], ModelName(models.digest_of(TINY_DCT)), len(start), rest.pack(start), False)
    coding = Coding(JpegFiles.number, 0, fields.to_bytes())
    return claiming(width, height, Form(KEPT, 8), coding, chunks, {SIZE: varint(code + len(start))})


@cache
def promised_forms() -> list[Form]:
    return [Form(colour, depth) for colour, depths in DEPTHS.items() for depth in depths]


def promised_fields(method: Method, rng: random.Random) -> bytes:
    folders = TINY, TINY_OTHER, TINY_YCC, TINY_YCC_OTHER, TINY_PALETTE
    tiny, other, ycc, ycc_other, palette = (ModelName(models.digest_of(folder), "") for folder in folders)
    several = rng.randrange(2)
    shape = Shape(*rng.choice(((1, 1), (16, 16), (16, 16), (256, 1), (8, 8), (1, 64))))
    if isinstance(method, Network):
        return NetworkFields(shape, [tiny, other][: 1 + several]).to_bytes()
    if isinstance(method, PastMethod):
        sampling = Sampling(rng.choice(FILTERS), ring=rng.randrange(2))
        return PastFields(rng.choice(FORMULAS[:2]), sampling, rng.random() < 0.3, shape, [ycc, ycc_other][: 1 + several]).to_bytes()
    if isinstance(method, DecodedJpeg):
        decoder = rng.choice(DECODERS)
        sampling = Sampling(rng.choice(decoder.filters), ring=rng.randrange(2)) if rng.random() < 0.8 else None
        layout = Layout(1, 1, sampling, 0, 0, decoder)
        steps = [np.full(64, rng.choice((1, 9, 255, 65535)))] * (3 if layout.sampling else 1)
        return InsideFields(layout, steps, rng.random() < 0.3, ModelName(models.digest_of(TINY_DCT))).to_bytes()
    if isinstance(method, PublishedPalette):
        return PaletteFields(shape, palette, tiny if rng.random() < 0.5 else None).to_bytes()
    return b""


def promise(data: bytes) -> bool:
    """With the tiny models, and no other limit on pixels than everybody's."""
    with tiny_models():
        decompress_file(read(data), Options(device="cpu"))
    return True


FOREIGN_REFUSALS = (OSError, SyntaxError, Image.DecompressionBombError)  # UnidentifiedImageError is an OSError
TARGETS = {
    "container": Target(0.20, seeds.files, container),
    "front": Target(0.15, seeds.files, front),
    "metadata": Target(0.10, lambda: bodies(METADATA), metadata_box),
    "palette": Target(0.08, lambda: bodies(PALETTE), palette_box),
    "levels": Target(0.08, lambda: bodies(LEVELS), levels_box),
    "fields": Target(0.08, fields, coding_fields),
    "outliers": Target(0.05, outlier_payloads, outliers),
    "mixing": Target(0.08, seeds.without_models, mixing),
    "network": Target(0.005, seeds.with_models, network),
    "picture": Target(0.2, seeds.pictures, opened_picture),
    "jpeg": Target(0.1, seeds.jpegs, jpeg),
    "scans": Target(0.1, seeds.jpegs, scans),
    "plugin": Target(0.06, seeds.files, plugin, FOREIGN_REFUSALS),
    "promise": Target(0.05, seeds.with_models, promise, made=promising),
    "command": Target(0.005, lambda: [*seeds.files(), *seeds.pictures()], command),
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
    for work in (container, front, mixing):
        try:
            work(file)
        except IgptError:
            pass


def by_coverage(seconds: int) -> None:
    """Ends the process."""
    import atheris

    parsers = (bitstream.container, bitstream.metadata, bitstream.palette, bitstream.outliers, bitstream.reader)
    modules = (*parsers, codec.representations, codec.decompression, codec.mixing.bands)
    for place in (*modules, bitstream.reader.Reader):
        for function in vars(place).values():
            if isinstance(function, FunctionType) and function.__module__ in {module.__name__ for module in modules}:
                function.__code__ = atheris.instrument_func(function).__code__
    with tempfile.TemporaryDirectory() as folder:
        for k, data in enumerate(seeds.files()):
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
