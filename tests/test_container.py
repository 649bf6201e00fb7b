"""The file as a whole: head, boxes, chunks and their checksums, by hand and by the codec."""

import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import codec
from bitstream import container, errors
from bitstream.constants import CONTAINER_VERSION, MAGIC, MAX_FRONT_BYTES
from bitstream.container import CODING, COLOURS, INDEX, LEVELS, METADATA, Coding, Head, front_in, largest_file, read, read_front, written
from bitstream.form import DEPTHS, GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form
from bitstream.reader import varint
from codec import models
from codec.description import info_of
from tests.conftest import picture, smooth, with_network

HEAD = Head(70, 40, Form(PALETTE, 4), bytes(range(8)))
BOXES = ((METADATA, b"of a PNG"), (container.PALETTE, b"colours"), (COLOURS, b"\3"))
TOMORROW = 0xC5, b"what may be skipped"
CHUNKS = b"abcd", b"", b"wxyz" * 50


def crc(data):
    return struct.pack("<I", zlib.crc32(data))


def box(kind, body):
    return bytes([kind]) + varint(len(body)) + body


def by_hand(boxes, *, head=HEAD.to_bytes(), codings=(b"\x21fields",), chunks=CHUNKS):
    """A file of such boxes, INDEX among them, in this order, with checksums that are right."""
    front = head + b"".join(box(*some) for some in boxes) + b"".join(box(CODING, coding) for coding in codings)
    return front + crc(front) + b"".join(chunk + crc(chunk) for chunk in chunks)


INDEXED = (*BOXES, (INDEX, b"\4\0"))
FILE = by_hand([*INDEXED[:2], TOMORROW, *INDEXED[2:]])


def test_a_file_is_what_the_document_says():
    coding = Coding(1, 1, b"fields")
    assert written(HEAD, dict(reversed(BOXES)), [coding], CHUNKS) == by_hand(INDEXED)
    assert written(HEAD, {}, [coding], CHUNKS[2:]) == by_hand([], chunks=CHUNKS[2:])
    file = read(by_hand(INDEXED))
    assert file.head == HEAD
    assert file.front.boxes == dict(BOXES)
    assert file.front.codings == (coding,)
    assert tuple(file.front.lengths()) == (4, 0)
    assert tuple(file.chunks) == CHUNKS
    assert file.front.unknown == []
    start = by_hand(INDEXED)[: file.front.size]
    assert read_front(start) == file.front
    with pytest.raises(errors.TruncatedError):
        read_front(start[:-1])


def test_the_bytes_of_a_head():
    head = Head(300, 5, Form(RGB_ALPHA, 16), bytes(range(8)), alpha_apart=True)
    assert head.to_bytes() == MAGIC + bytes([1, 0xAC, 2, 5, 6 | 4 << 3 | 64, *range(8)])
    assert Head(1, 1, Form(GREY, 1), bytes(8)).to_bytes() == b"\x89IGP\1\1\1\0" + bytes(8)


FORMS = [Form(colour, depth) for colour, depths in DEPTHS.items() for depth in depths]


@given(st.integers(1, 1 << 24), st.integers(1, 1 << 24), st.sampled_from(FORMS), st.binary(min_size=8, max_size=8), st.booleans())
def test_any_head_comes_back(width, height, form, digest, apart):
    head = Head(min(width, 1 << 20) if form.depth == 16 else width, height, form, digest, apart and form.colour in (GREY_ALPHA, RGB_ALPHA))
    codings = [Coding(0)] * (1 + head.alpha_apart)
    assert read(written(head, {}, codings, [b"x"])).head == head


@given(
    st.dictionaries(st.sampled_from([METADATA, container.PALETTE, LEVELS, COLOURS]), st.binary(max_size=300)),
    st.lists(st.binary(max_size=300), min_size=1, max_size=20),
    st.integers(0, 31),
    st.integers(0, 7),
    st.binary(max_size=40),
)
def test_any_boxes_and_chunks_come_back(boxes, chunks, method, variant, fields):
    file = read(written(HEAD, boxes, [Coding(method, variant, fields)], chunks))
    assert (file.front.boxes, tuple(file.chunks), file.front.codings) == (boxes, tuple(chunks), (Coding(method, variant, fields),))


def test_boxes_come_in_any_order():
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        file, same = (read(by_hand(some)) for some in ([INDEXED[k] for k in order], INDEXED))
        assert (file.front, *file.chunks) == (same.front, *same.chunks)


def test_two_codings_of_a_picture_with_alpha_apart():
    head = Head(9, 9, Form(GREY_ALPHA, 8), bytes(8), alpha_apart=True)
    data = by_hand([(INDEX, b"\1")], head=head.to_bytes(), codings=(b"\1", b"\0"), chunks=(b"x", b"y"))
    assert read(data).front.codings == (Coding(1), Coding(0))
    assert data == written(head, {}, [Coding(1), Coding(0)], [b"x", b"y"])
    front = head.to_bytes() + box(CODING, b"\1") + box(LEVELS, b"x") + box(CODING, b"\0")
    with pytest.raises(errors.DamagedError, match="disorder"):
        read(front + crc(front) + b"x" + crc(b"x"))


def test_an_unknown_box_is_skipped_or_not():
    file = read(FILE)
    assert file.front.unknown == ["box 0xc5"]
    assert file.front.boxes[0xC5] == TOMORROW[1]
    for kind in (7, 0x45, 0x7F):
        with pytest.raises(errors.NewerVersionError, match=f"type {kind} "):
            read(by_hand([(kind, b"what must be known"), *INDEXED]))
    with pytest.raises(errors.DamagedError, match="type 0"):
        read(by_hand([(0, b""), *INDEXED]))


def test_every_truncation_is_refused():
    for length in range(len(FILE)):
        with pytest.raises(errors.IgptError) as caught:
            read(FILE[:length])
        if length > 5:
            assert "truncated" in str(caught.value)


def test_every_flipped_bit_is_refused():
    for bit in range(8 * len(FILE)):
        broken = bytearray(FILE)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.IgptError):
            read(bytes(broken))


@given(st.sets(st.integers(0, 8 * len(FILE) - 1), min_size=2, max_size=5))
def test_any_flipped_bits_are_refused(bits):
    broken = bytearray(FILE)
    for bit in bits:
        broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(errors.IgptError):
        read(bytes(broken))


def test_every_exchanged_byte_is_refused():
    for at in range(len(FILE) - 1):
        if FILE[at] != FILE[at + 1]:
            with pytest.raises(errors.IgptError):
                read(FILE[:at] + FILE[at : at + 2][::-1] + FILE[at + 2 :])


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (b"", errors.NotIgptError, "empty"),
        (b"hello, world", errors.NotIgptError, "not an igpt file"),
        (b"\x89PNG\r\n\x1a\n", errors.NotIgptError, "not an igpt file"),
        (b"\x09" + FILE[1:], errors.NotIgptError, "text mode"),
        (FILE[:4] + b"\0" + FILE[5:], errors.DamagedError, "version 0"),
        (FILE[:4] + b"\2" + FILE[5:], errors.NewerVersionError, f"version 2, this igpt reads version {CONTAINER_VERSION}"),
        (FILE[:5], errors.TruncatedError, "its beginning"),
        (FILE[:30], errors.TruncatedError, "its beginning"),
        (FILE[:-205], errors.TruncatedError, "its chunks"),
        (FILE[:-1], errors.DamagedError, "chunk 3 of 3 .* truncated"),
        (FILE + b"x", errors.DamagedError, "chunk 3 of 3 .* goes on behind it"),
        (FILE + FILE, errors.DamagedError, "chunk 3 of 3"),
        (FILE.replace(b"abcd", b"abce"), errors.DamagedError, "chunk 1 of 3 is damaged"),
        (FILE.replace(b"skipped", b"SKIPPED"), errors.DamagedError, "beginning of the file is damaged"),
    ],
)
def test_what_is_wrong_is_said(data, error, match):
    with pytest.raises(error, match=match):
        read(data)


def headed(width=5, height=5, form=Form(RGB, 8), apart=False, **changes):
    data = bytearray(Head(width, height, form, bytes(8), apart).to_bytes())
    if "form_byte" in changes:
        data[7] = changes["form_byte"]
    return bytes(data)


@pytest.mark.parametrize(
    ("head", "match"),
    [
        (headed(width=0), "0x5"),
        (headed(height=0), "5x0"),
        (headed(width=(1 << 24) + 1), "out of range"),
        (headed(height=(1 << 24) + 1), "out of range"),
    ],
)
def test_heads_that_cannot_be_are_refused_although_the_checksum_is_right(head, match):
    with pytest.raises(errors.DamagedError, match=match):
        read(by_hand([], head=head, chunks=(b"x",)))


@pytest.mark.parametrize(
    "head",
    [headed(form=Form(*form)) for form in ((1, 8), (5, 8), (7, 16), (RGB, 4), (PALETTE, 16), (GREY, 32), (GREY, 128))]
    + [headed(form_byte=0x80 | RGB | 3 << 3), headed(form_byte=0xFF), headed(width=0, form=Form(5, 8))],
)
def test_forms_of_tomorrow_need_a_newer_igpt(head):
    """Whatever else is new about them; where the checksum is right."""
    apart = head[7] & 0x40
    data = by_hand([], head=head, codings=(b"\0",) * (2 if apart else 1), chunks=(b"x",))
    with pytest.raises(errors.NewerVersionError, match=f"form .{head[7]:#04x}.*update igpt"):
        read(data)
    with pytest.raises(errors.DamagedError, match="checksum"):
        read(data[:-10] + bytes((data[-10] ^ 1,)) + data[-9:])


def test_what_is_newer_is_said_before_what_is_damaged():
    """A box or a method that is not known may explain what seems wrong."""
    for boxes, coding in (([(LEVELS, b"\xff")], b"\x08"), ([(LEVELS, b"\xff"), (7, b"new")], b"\0"), ([(COLOURS, b"\2")], b"\xe1")):
        data = by_hand(boxes, head=headed(), codings=(coding,), chunks=(b"x",))
        for work in (codec.info, codec.decode):
            with pytest.raises(errors.NewerVersionError, match="update igpt"):
                work(data)


def test_a_front_has_a_limit():
    """And a file that keeps to it is no larger than its bound."""
    room = MAX_FRONT_BYTES - len(Head(1, 1, Form(GREY, 8), bytes(8)).to_bytes()) - 5 - 3 - 4
    for size, right in ((room, True), (room + 1, False)):
        data = by_hand([(0xFE, bytes(size))], head=headed(1, 1, Form(GREY, 8)), codings=(b"\0",), chunks=(b"x",))
        if right:
            assert len(data) <= largest_file(data[:64])
            assert tuple(read(data).chunks) == (b"x",)
        else:
            with pytest.raises(errors.DamagedError, match="its beginning has more than"):
                read_front(data)


def test_info_counts_chunks():
    """An index of others than the coding has is damaged, and is found without looking at them all."""
    head = headed(1, 1, Form(GREY, 8))
    with pytest.raises(errors.DamagedError, match="3 chunks, 1 are wanted"):
        codec.info(by_hand([(INDEX, b"\1\1")], head=head, codings=(b"\0",), chunks=(b"x", b"y", b"z")))
    many = by_hand([(INDEX, b"\1" * 10_000_000)], head=head, codings=(b"\0",), chunks=(b"x",))
    start = time.process_time()
    with pytest.raises(errors.DamagedError, match="1 are wanted"):
        codec.info(many)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("colour", [GREY, RGB, PALETTE])
def test_alpha_is_apart_only_where_there_is_one(colour):
    with pytest.raises(errors.DamagedError, match="no alpha"):
        read(by_hand([], head=headed(form=Form(colour, 8), apart=True), codings=(b"\0", b"\0"), chunks=(b"x",)))


@pytest.mark.parametrize(
    ("boxes", "match"),
    [
        ([BOXES[0], BOXES[0]], "disorder"),
        ([TOMORROW, TOMORROW], "disorder"),
        ([(INDEX, b"\1"), (INDEX, b"\1")], "disorder"),
        ([(INDEX, b"")], "index is empty"),
        ([(INDEX, b"\x81\0")], "malformed"),
        ([(INDEX, b"\xff\xff\xff\xff\xff\1")], "malformed"),
        ([(INDEX, b"\x84")], "index"),
    ],
)
def test_boxes_that_cannot_be_are_refused(boxes, match):
    with pytest.raises(errors.DamagedError, match=match):
        read(by_hand(boxes))


def test_a_coding_has_a_method():
    with pytest.raises(errors.DamagedError, match="no method"):
        read(by_hand([], codings=(b"",), chunks=(b"x",)))


@pytest.mark.parametrize("length", [5, 1 << 20, (1 << 32) - 1, (1 << 35) - 1])
def test_hostile_lengths_end_it_at_once(length):
    """Of a box, of a payload, and of many payloads: nothing is allocated for them."""
    data = HEAD.to_bytes() + b"\x81" + varint(length) + b"abcd"
    long = by_hand([(INDEX, varint(length))], chunks=(b"abcd", b""))
    many = by_hand([(INDEX, varint(length) * 100_000)], chunks=(b"abcd", b""))
    start = time.process_time()
    for some in (data, long, many):
        with pytest.raises(errors.DamagedError):
            read(some)
    assert time.process_time() - start < 1


class Stream:
    """Counts what is read."""

    def __init__(self, data):
        self.data, self.at, self.most = data, 0, 0

    def seek(self, at):
        self.at = at

    def read(self, count):
        found = self.data[self.at : self.at + count]
        self.at += len(found)
        self.most = max(self.most, self.at)
        return found


@pytest.mark.parametrize("size", [10, 5000, 300_000])
def test_a_front_is_read_without_the_rest(size):
    data = by_hand([(METADATA, bytes(size))], chunks=(bytes(10_000_000),))
    stream = Stream(data)
    assert front_in(stream) == read_front(data)
    assert stream.most <= 4 * (size + 4096)
    with pytest.raises(errors.TruncatedError):
        front_in(Stream(data[: size // 2]))


def test_what_is_wrong_in_a_front_is_no_reason_to_read_on():
    """Nor is a box that says that it is huge."""
    for boxes in ([(INDEX, b"\x81")], [(LEVELS, b"\1\1")]):
        stream = Stream(by_hand(boxes, head=headed(), codings=(b"\0",), chunks=(bytes(10_000_000),)))
        with pytest.raises(errors.DamagedError, match="damaged"):
            info_of(front_in(stream))
        assert stream.most <= 4096
    stream = Stream(HEAD.to_bytes() + b"\x81" + varint(1 << 30) + bytes(10_000_000))
    with pytest.raises(errors.DamagedError, match="its beginning has more than"):
        front_in(stream)
    assert stream.most <= 4096


def test_no_file_is_larger_than_it_may_be():
    """Of noise with metadata that cannot be made smaller."""
    rng = np.random.default_rng(0)
    for pixels in (rng.integers(0, 256, (20, 30, 4)).astype(np.uint8), rng.integers(0, 1 << 16, (20, 30, 3)).astype(np.uint16)):
        data = codec.compress(pixels, device="cpu")
        bound = largest_file(data[:40])
        assert len(data) <= bound
        assert bound < (1 << 27) + 16 * pixels.nbytes


def icon(channels, size=16):
    """A ring on a plain ground."""
    y, x = np.mgrid[:size, :size] - size // 2
    inside = ((x * x + y * y > 20) & (x * x + y * y < 50))[..., None]
    colours = np.array([[200, 30, 90, 255], [0, 0, 0, 0]])[:, [0, 3] if channels == 2 else slice(channels)]
    return np.where(inside, *colours).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_bytes_beside_the_payload_of_an_icon(channels):
    for pixels in (icon(channels), icon(channels, 1), np.full((1, 1, channels), 77, np.uint8)):
        data = codec.compress(pixels, device="cpu")
        assert len(data) - sum(map(len, read(data).chunks)) <= 28


@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_takes_19_bytes_more(channels):
    """Its digest, an empty name and the groups."""
    data = with_network(smooth(16, 16)[..., :channels], models.default("rgb"))
    assert len(data) - sum(map(len, read(data).chunks)) <= 28 + 19


def test_what_is_under_no_check_of_its_own_is_under_that_of_the_front():
    """The checks are CRC-32 of zlib, of everything before, and of each payload."""
    data = codec.compress(picture(5, 6, 3), device="cpu")
    file = read(data)
    assert data[file.front.size - 4 : file.front.size] == crc(data[: file.front.size - 4])
    assert data[file.front.size :] == b"".join(chunk + crc(chunk) for chunk in file.chunks)
