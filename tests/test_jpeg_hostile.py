"""JPEG files that somebody made to do harm, and igpt files that claim to hold one: they are kept, or refused, in little time and memory."""

import random
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream.container import SIZE, Coding, read
from bitstream.errors import DamagedError, IgptError
from bitstream.form import KEPT, Form
from bitstream.reader import varint
from codec.decompression import decompress_file
from codec.jpeg import coefficients, file, picture, rest
from codec.jpeg.coefficients import Plane
from codec.jpeg.file import Place, joined, pictures_in
from codec.jpeg.picture import BLOCK, Patch, taken_apart, walk
from codec.methods import jpeg
from codec.methods.jpeg import Fields, JpegFiles
from codec.methods.method import Part, Source
from codec.options import Options
from codec.progress import ignore
from tests.conftest import TINY_DCT, smooth
from tests.forged import claiming
from tests.mutations import mutated
from tests.picture_files import saved

CPU = Options(device="cpu", model=TINY_DCT)


def kept(data):
    """The file that an igpt file holds."""
    return decompress_file(read(data), CPU).file


def decoded_part(part):
    """Of one that needs no other layers."""
    try:
        next(JpegFiles().decoding(part, CPU, ignore))
    except StopIteration as end:
        return end.value.tobytes()


def segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def small(**options):
    return saved(Image.fromarray(smooth(30, 40)), "JPEG", **({"quality": 80} | options))


def table(rng, kind, number):
    """Random Huffman codes, complete or not, with symbols of all sorts."""
    counts, room = [], 1
    for _ in range(16):
        room *= 2
        counts.append(rng.randrange(min(room, 40) + 1) if rng.random() < 0.6 else 0)
        room = min(room - counts[-1], 1 << 12)
    values = rng.sample(range(256), min(sum(counts), 256))
    while sum(counts) > len(values):
        counts[max(k for k in range(16) if counts[k])] -= 1
    return bytes((kind << 4 | number, *counts, *values))


def hostile(rng):
    """Segments that fit together, and code that does not."""
    count, marker = rng.choice((1, 1, 3, 3, 4, 2)), rng.choice((0xC0, 0xC1, 0xC2, 0xC2))
    sampling = [rng.choice((0x11, 0x11, 0x22, 0x21, 0x12, 0x41, 0x44, 0x33)) for _ in range(count)]
    height, width = rng.choice((1, 8, 17, 40)), rng.choice((1, 9, 16, 50))
    components = b"".join(bytes((k, s, rng.randrange(4))) for k, s in enumerate(sampling))
    data = b"\xff\xd8" + segment(marker, struct.pack(">BHHB", rng.choice((8, 12)), height, width, count) + components)
    data += segment(0xDB, b"".join(bytes((k,)) + bytes(rng.randrange(256) for _ in range(64)) for k in range(4)))
    for _ in range(rng.randrange(1, 9)):
        if rng.random() < 0.4:
            data += segment(0xDD, struct.pack(">H", rng.choice((0, 1, 2, 5, 65535))))
        data += segment(0xC4, b"".join(table(rng, kind, rng.randrange(4)) for kind in (0, 1, 0, 1)))
        chosen = rng.sample(range(count), rng.randrange(1, count + 1))
        limits = (0, 63, 0)
        if marker == 0xC2:
            low = rng.randrange(14)
            first = rng.randrange(64) if len(chosen) == 1 else 0
            last = rng.randrange(first, 64) if first else 0
            limits = first, last, rng.choice((low, (low + 1) << 4 | low))
        tables = b"".join(bytes((k, rng.randrange(4) << 4 | rng.randrange(4))) for k in chosen)
        data += segment(0xDA, bytes((len(chosen),)) + tables + bytes(limits))
        for _ in range(rng.randrange(4)):
            code = bytes(rng.choice((0, 255, rng.randrange(256))) for _ in range(rng.choice((0, 3, 100))))
            data += code.replace(b"\xff", b"\xff\0") + (b"\xff" + bytes((rng.randrange(0xD0, 0xD8),)) if rng.random() < 0.5 else b"")
    return data + rng.choice((b"", b"\xff\xd9", b"\xff", b"\xff\xd9" + bytes(9)))


@pytest.fixture
def all_is_worth(monkeypatch):
    """A picture is taken apart wherever that is possible."""
    monkeypatch.setattr(picture, "WORTH_BYTES", 0)
    monkeypatch.setattr(picture, "WORTH_SHARE", 1 << 40)
    monkeypatch.setattr(picture, "BLOCKS_PER_BYTE", 1 << 20)
    monkeypatch.setattr(file, "BLOCKS_PER_BYTE", 1 << 20)


@pytest.mark.usefixtures("all_is_worth")
def test_random_segments_come_back():
    taken = 0
    for seed in range(200):
        data = hostile(random.Random(seed))
        found = taken_apart(data, 0)
        if found:
            taken += 1
            place = Place(0, found.code, 0, [*enumerate(found.patches)])
            assert joined(found.rest, [place], lambda _, number, found=found: found.coefficients) == data
    assert taken > 100


@pytest.mark.usefixtures("all_is_worth")
def test_random_coefficients_are_written_as_far_as_there_is_room():
    """Coefficients of a hostile igpt file are any, and so are the scans that they are written to."""
    rng = np.random.default_rng(0)
    for seed in range(150):
        found = walk(hostile(random.Random(seed)), 0)
        if not found:
            continue
        shape = found.frame.blocks, BLOCK
        for most in (0, 1, 2, 3, 50, 5000):
            blocks = rng.integers(-32767, 32768, shape).astype(np.int16) >> rng.integers(0, 16, shape)
            blocks *= rng.random(shape) < rng.random()
            for header, _ in found.scans:
                room = np.full(most + 18, 7, np.uint8)
                code = picture._written(header, blocks, bool(most % 2), room[: most + 2])
                assert len(code) <= most + 2
                assert (room[most + 2 :] == 7).all()


def test_random_coefficients_are_coded():
    rng = np.random.default_rng(1)
    for k in range(12):
        sizes = [tuple(rng.integers(1, 6, 2).tolist()) for _ in range(1 + k % 4)]
        steps = [rng.integers(0, 65536, BLOCK) if k % 2 else np.zeros(BLOCK, np.int64) for _ in sizes]
        blocks = [rng.integers(-32767, 32768, (*size, BLOCK)).astype(np.int16) >> rng.integers(0, 16) for size in sizes]
        payloads = coefficients.encode([*map(Plane, steps, blocks)], None, ignore)
        found = coefficients.decode(payloads, sizes, steps, None, ignore)
        assert all((one == other).all() for one, other in zip(found, blocks, strict=True))


@pytest.mark.parametrize("length", [2, 700, 5000])
def test_a_code_that_no_symbol_has_ends_a_scan(length):
    """What was written before is there, and nothing behind it."""
    blocks = np.zeros((400, BLOCK), np.int16)
    blocks[300, 5] = 9  # of which the code below knows nothing
    codes = segment(0xC4, bytes((0, 1, *bytes(15), 0)) + bytes((16, 1, *bytes(15), 0)))
    frame = segment(0xC0, struct.pack(">BHHB", 8, 160, 160, 1) + bytes((1, 0x11, 0)))
    found = walk(b"\xff\xd8" + frame + codes + segment(0xDA, bytes((1, 1, 0, 0, 63, 0))), 0)
    code = picture._written(found.scans[0][0], blocks, True, np.empty(length, np.uint8))
    assert code.tobytes() == bytes(min(2 * 301 // 8, length - 1))


def test_more_than_a_megabyte_beside_the_code(monkeypatch):
    """A sixteenth of that."""
    assert jpeg.FRONT_BYTES == rest.MOST_MIXED == 1 << 20
    monkeypatch.setattr(jpeg, "FRONT_BYTES", 1 << 16)
    monkeypatch.setattr(rest, "MOST_MIXED", 1 << 16)
    data = small() + np.random.default_rng(0).bytes(1 << 16) + bytes(1 << 16)
    source = Source(np.frombuffer(data, np.uint8).reshape(1, -1, 1), options=CPU, kept=True)
    coded = JpegFiles().offer(source, ignore)[0].coded(ignore)
    part = Part(len(data), 1, 1, 8, coded.coding, coded.chunks)
    assert len(coded.chunks) == 2
    JpegFiles().check(part, coded, source.samples, ignore)
    assert decoded_part(part) == data
    assert kept(codec.compress(data, model=TINY_DCT, device="cpu")) == data


def test_tables_without_end_are_not_read():
    """Neither those of a segment, nor those of many scans; tables 3, below, are of no use to the file."""
    data = small()
    at = data.index(b"\xff\xda")
    for marker, size, most in ((0xC4, 16, 8), (0xDB, 64, 4)):
        for count, fits in ((most, True), (most + 1, False)):
            body = (b"\3" + bytes(size)) * count
            assert bool(walk(data[:at] + segment(marker, body) + data[at:], 0)) == fits
    frame = segment(0xC2, struct.pack(">BHHB", 8, 8, 8, 4) + bytes((1, 0x44, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0)))
    codes = segment(0xC4, b"".join(bytes((k, 1, *bytes(15), 0)) for k in (0, 1, 2, 3, 16, 17, 18, 19)))
    data = b"\xff\xd8" + frame + (codes + segment(0xDA, bytes((1, 2, 0, 0, 0, 0)))) * 2000 + bytes(100)
    tracemalloc.start()
    found = walk(data, 0)
    assert len(found.scans) > 1000
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def test_scans_without_end_are_not_read():
    frame = segment(0xC2, struct.pack(">BHHB", 8, 800, 800, 1) + bytes((1, 0x11, 0)))
    scans = [segment(0xDA, bytes((1, 1, 0, *limits))) for limits in [(0, 0, 1), (1, 63, 1)] + [(1, 63, 0x10)] * 100]
    found = walk(b"\xff\xd8" + frame + b"".join(scans), 0)
    assert 10 < len(found.scans) < 20


def test_blocks_of_all_pictures_are_limited(monkeypatch):
    data = small() * 3
    assert len(pictures_in(data)[0]) == 3
    blocks = walk(data, 0).frame.blocks
    places, left = pictures_in(data)
    taken = [one for _, one in places]
    placed = [Place(start, one.code, 0, [*enumerate(one.patches)]) for start, one in places]

    def decode(_, number):
        return taken[number].coefficients

    assert joined(left, placed, decode) == data
    monkeypatch.setattr(file, "MOST_BLOCKS", 2 * blocks)
    assert len(pictures_in(data)[0]) == 2
    with pytest.raises(DamagedError, match="too many"):
        joined(left, placed, decode)


DATA = small()
FIELDS = JpegFiles().offer(Source(np.frombuffer(DATA, np.uint8).reshape(1, -1, 1), options=CPU, kept=True), ignore)[0].coded(ignore)
FRONT = JpegFiles().fields(Part(len(DATA), 1, 1, 8, FIELDS.coding))


def decoded(fields, chunks, size=len(DATA)):
    """Of a file that claims these; its bytes."""
    samples = np.frombuffer(DATA, np.uint8).reshape(1, -1, 1)
    coding = Coding(JpegFiles.number, 0, fields.to_bytes() if isinstance(fields, Fields) else fields)
    data = claiming(40, 30, Form(KEPT, 8), coding, chunks, {SIZE: varint(size)}, samples)
    codec.info(data)
    return kept(data)


def with_place(**changes):
    return FRONT._replace(places=[FRONT.places[0]._replace(**changes)])


def test_the_file_of_these_tests_is_right():
    assert decoded(FRONT, FIELDS.chunks) == DATA


WRONG = {
    "another start": with_place(start=1),
    "a start behind the end": with_place(start=1 << 30),
    "more code": with_place(code=FRONT.places[0].code + 1),
    "less code": with_place(code=FRONT.places[0].code - 1),
    "code without end": with_place(code=1 << 34),
    "another chunk": with_place(chunks=2),
    "chunks without end": with_place(chunks=1 << 34),
    "no chunk": with_place(chunks=0),
    "a patch of another scan": with_place(patches=[(1, Patch(1, True))]),
    "two patches of a scan": with_place(patches=[(0, Patch()), (0, Patch())]),
    "a patch that is too long": with_place(patches=[(0, Patch(1 << 20, True))]),
    "a patch that is too short": with_place(patches=[(0, Patch(0, True))]),
    "too many patches": with_place(patches=[(k, Patch()) for k in range(5000)]),
    "no picture": FRONT._replace(places=[]),
    "a picture twice": FRONT._replace(places=FRONT.places * 2),
    "too many pictures": FRONT._replace(places=FRONT.places * 17),
    "more behind": FRONT._replace(behind=True),
    "another size": FRONT._replace(size=FRONT.size - 1),
    "a size without end": FRONT._replace(size=1 << 34),
    "nothing": b"",
    "nothing packed": FRONT._replace(packed=b""),
    "packed in another way": FRONT._replace(packed=b"\3" + FRONT.packed[1:]),
    "plain bytes": FRONT._replace(packed=b"\0" + FRONT.packed[1:]),
    "no deflate stream": FRONT._replace(packed=b"\1" + FRONT.packed[1:]),
    "mixed bytes, one more": FRONT._replace(packed=FRONT.packed + b"\0"),
    "mixed bytes, one less": FRONT._replace(packed=FRONT.packed[:-1]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_fields_are_refused(name):
    with pytest.raises(DamagedError):
        decoded(WRONG[name], FIELDS.chunks)


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, 1 << 28, (1 << 28) + 1, 0])
def test_wrong_sizes_are_refused(size):
    with pytest.raises(DamagedError):
        decoded(FRONT, FIELDS.chunks, size)


def test_a_chunk_of_nothing_is_empty():
    fields = Fields([], None, len(DATA), rest.pack(DATA), False)
    assert decoded(fields, [b""]) == DATA
    with pytest.raises(DamagedError, match="not empty"):
        decoded(fields, [b"\0"])


def test_mutated_fields_and_headers():
    """Of the fields, of the headers that they hold, of the payload: no other error, whatever stands there."""
    refused = 0
    for seed in range(60):
        rng = random.Random(seed)
        fields, chunks = FRONT, FIELDS.chunks
        match seed % 4:
            case 0:
                fields = mutated(FRONT.to_bytes(), rng, FRONT.to_bytes())
            case 1:
                chunks = [mutated(chunks[0], rng, chunks[0])]
            case _:
                head = mutated(FRONT.front, rng, FRONT.front)
                fields = FRONT._replace(size=len(head), packed=b"\0" + head)
        try:
            size = len(DATA) if isinstance(fields, bytes) else fields.size + fields.places[0].code
            decoded(fields, chunks, size)
        except IgptError:
            refused += 1
    assert refused > 35


def test_mutated_files_come_back():
    """Whatever is damaged in a JPEG, it is kept as it is."""
    seeds = [small(), small(progressive=True), small(restart_marker_blocks=2), small(subsampling=0, optimize=True)]
    for seed in range(24):
        rng = random.Random(seed)
        data = mutated(rng.choice(seeds), rng, rng.choice(seeds))
        source = Source(np.frombuffer(data, np.uint8).reshape(1, -1, 1), options=CPU, kept=True)
        coded = JpegFiles().offer(source, ignore)[0].coded(ignore)
        part = Part(len(data), 1, 1, 8, coded.coding, coded.chunks)
        JpegFiles().check(part, coded, source.samples, ignore)
        assert decoded_part(part) == data
        JpegFiles().description(part)
        JpegFiles().header(part, CPU)
