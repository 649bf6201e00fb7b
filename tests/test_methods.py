"""Ways of coding: what every method keeps to, a new one of thirty lines, and samples that are stored."""

import math

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream.container import PALETTE, Coding, read, require
from bitstream.errors import DamagedError, NewerVersionError, UnsupportedImageError, VerificationError
from bitstream.form import GREY, Form
from bitstream.form import PALETTE as INDEXED
from bitstream.reader import varint
from codec.analysis import bits_per_pixel
from codec.compression import compress_picture
from codec.decompression import decompress_file
from codec.methods import METHODS, method_of
from codec.methods.inside import DecodedJpeg
from codec.methods.method import Coded, DirectMethod, Part, Ready, require_same
from codec.methods.mixing import DeepMixing, Mixing
from codec.methods.network import Network
from codec.methods.stored import Stored
from codec.options import Options
from codec.pictures.picture import Picture
from codec.progress import ignore
from codec.representations import representations
from tests.conftest import (
    TINY,
    TINY_DCT,
    TINY_PALETTE,
    TINY_YCC,
    coded_by,
    decoded_jpeg,
    file_of,
    form_of,
    picture,
    remade,
    smooth,
    with_network,
    with_past,
)
from tests.picture_files import saved

CPU = Options(device="cpu")


class Recurrence(DirectMethod):
    """Samples x that are each followed by 5 x + 17, modulo 256: the first one says all."""

    number = 9
    name = "recurrence"

    def offer(self, source, progress):
        samples = source.samples.ravel()
        if samples.dtype != np.uint8 or (samples[1:] != samples[:-1] * np.uint8(5) + np.uint8(17)).any():
            return []
        return [Ready(Coded(Coding(self.number), [samples[:1].tobytes()]), source.pixels)]

    def least_bytes(self, part):
        require(part.depth == 8 and not part.coding.fields, "it does not recur so")
        yield 1

    def decode(self, part, progress):
        samples = bytearray(part.chunks[0])
        require(len(samples) == 1, "it begins more than once")
        while len(samples) < part.height * part.width * part.channels:
            samples.append((5 * samples[-1] + 17) % 256)
        return part.cut(np.frombuffer(bytes(samples), np.uint8).reshape(part.height, part.width, part.channels))

    def check(self, part, coded, samples, progress):
        require_same(np.array_equal(self.decode(part, progress), samples), "its samples do not recur")


@pytest.fixture
def recurrence():
    """The one line that a new method takes."""
    METHODS.insert(0, Recurrence())
    yield
    del METHODS[0]


def recurring(channels, size=(40, 60)):
    start, count = 7, size[0] * size[1] * channels
    samples = [start]
    while len(samples) < count:
        samples.append((5 * samples[-1] + 17) % 256)
    return np.array(samples, np.uint8).reshape(*size, channels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_new_method_compresses_decompresses_and_is_described(channels, recurrence):
    pixels = recurring(channels)
    for verify in (False, True):
        data = codec.compress(pixels, device="cpu", verify=verify)
        assert tuple(read(data).chunks) == (b"\7",)
        assert (codec.decode(data, device="cpu").reshape(pixels.shape) == pixels).all()
    assert codec.info(data).coding == "recurrence"
    assert codec.decompress(data).tobytes() == pixels.tobytes()
    assert [image.tobytes() for image in codec.decompress_many([data, data])] == [pixels.tobytes()] * 2
    assert codec.compress_many([pixels, pixels], device="cpu") == [data, data]
    bits = bits_per_pixel(pixels, CPU)
    assert [costs.shape for costs in bits.values()] == [pixels.shape[:2]]
    assert sum(costs.sum() for costs in bits.values()) == pytest.approx(8)


def test_a_new_method_takes_part_beside_others(recurrence):
    """For one of two parts; for indices; and not where another one is smaller."""
    apart = np.dstack([smooth(40, 60), recurring(1)])
    data = codec.compress(apart, device="cpu")
    assert codec.info(data).coding == "network; alpha: recurrence"
    assert (codec.decode(data) == apart).all()
    image = Image.fromarray(recurring(1)[..., 0], "L")
    image.putpalette(np.random.default_rng(0).bytes(768))
    data = codec.compress(image, device="cpu")
    assert (codec.info(data).coding, codec.info(data).representation) == ("recurrence", "samples")
    assert codec.decompress(data).tobytes() == image.tobytes()
    assert codec.info(codec.compress(smooth(40, 60), device="cpu")).coding == "network"


def test_a_new_methods_refusals_are_the_codecs(recurrence):
    data = codec.compress(recurring(3), device="cpu")
    for wrong, match in ((b"", "too few for its pixels"), (b"ab", "more than once"), (b"\1", "digest")):
        with pytest.raises(DamagedError, match=match):
            codec.decode(remade(data, chunks=[wrong]))


@pytest.mark.parametrize("verify", [False, True])
def test_a_method_that_is_wrong_is_found_out(verify, recurrence, monkeypatch):
    monkeypatch.setattr(Recurrence, "decode", lambda self, part, progress: np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(VerificationError):
        codec.compress(recurring(3), device="cpu", verify=verify)


def test_without_the_method_its_files_need_a_newer_igpt():
    data = file_of(recurring(3), coded_by(Recurrence(), recurring(3)))
    for work in (codec.decode, codec.decompress, codec.info):
        with pytest.raises(NewerVersionError, match="method 9"):
            work(data)


# Every method


FLAT = np.full((20, 30, 3), 7, np.uint8)
FILES = {
    "stored": file_of(picture(20, 30, 3), coded_by(Stored(), picture(20, 30, 3))),
    "mixing": file_of(FLAT, coded_by(Mixing(), FLAT)),
    "deep mixing": file_of(FLAT.astype(np.uint16), coded_by(DeepMixing(), FLAT.astype(np.uint16))),
    "network": with_network(picture(20, 30, 3)),
    "past": with_past(decoded_jpeg(smooth(40, 50))),
    "decoded JPEG": file_of(decoded_jpeg(smooth(40, 50)), coded_by(DecodedJpeg(), decoded_jpeg(smooth(40, 50)), model=TINY_DCT)),
    "JPEG file": codec.compress(saved(Image.fromarray(smooth(40, 50)), "JPEG"), model=TINY_DCT, device="cpu"),
}


def test_methods_have_numbers_and_names_of_their_own():
    assert sorted(method.number for method in METHODS) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert len({method.name for method in METHODS}) == len(METHODS)
    assert METHODS[-1].number == Stored.number  # what offers last must code anything
    for method in METHODS:
        assert method_of(Coding(method.number, method.variants - 1)) is method
        with pytest.raises(NewerVersionError, match=f"variant {method.variants} of method {method.number}"):
            method_of(Coding(method.number, method.variants))


@pytest.mark.parametrize("name", FILES)
def test_unknown_variants_and_methods_need_a_newer_igpt(name):
    data = FILES[name]
    (coding,) = read(data).front.codings
    for variant in range(method_of(coding).variants, 8):
        with pytest.raises(NewerVersionError, match="update igpt"):
            codec.info(remade(data, codings=[coding._replace(variant=variant)]))
    for number in range(8, 32):
        with pytest.raises(NewerVersionError, match="update igpt"):
            codec.info(remade(data, codings=[coding._replace(method=number)]))


@pytest.mark.parametrize("name", FILES)
def test_fields_that_are_too_long_or_too_short_are_refused(name, only_tiny_models):
    data = FILES[name]
    codec.decode(data)
    (coding,) = read(data).front.codings
    size = 27 if "JPEG" in name else len(coding.fields)  # mixed bytes that are cut may be others, which serve as well
    wrong = [coding.fields + b"\0", *(coding.fields[:length] for length in range(size))]
    for fields in wrong:
        with pytest.raises(DamagedError):
            codec.decode(remade(data, codings=[coding._replace(fields=fields)]))


@pytest.mark.parametrize("name", FILES)
def test_chunks_that_are_too_many_or_too_few_are_refused(name, only_tiny_models):
    data = FILES[name]
    chunks = [*read(data).chunks]
    for wrong in (chunks[:-1] or [b""], [*chunks, b"abcd"], chunks * 2):
        with pytest.raises(DamagedError, match=r"chunk|many|few"):
            codec.decode(remade(data, chunks=wrong))


SAMPLES = {
    "mixing": {(n, 8) for n in (1, 2, 3, 4)},
    "deep mixing": {(n, 16) for n in (1, 2, 3, 4)},
    "network": {(1, 8), (3, 8)},
    "past": {(3, 8)},
    "decoded JPEG": {(3, 8)},
    "stored": {(n, depth) for n in (1, 2, 3, 4) for depth in (8, 16)},
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_method_codes_the_samples_that_it_can(name):
    """Others are damage, before a chunk is looked at."""
    (coding,) = read(FILES[name]).front.codings
    method = method_of(coding)
    for channels in (1, 2, 3, 4):
        for depth in (8, 16):
            part = Part(30, 20, channels, depth, coding)
            if (channels, depth) in SAMPLES[name]:
                assert list(method.least_bytes(part))
            else:
                with pytest.raises(DamagedError):
                    list(method.least_bytes(part))


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"deep mixing", "JPEG file"}))
def test_alpha_apart_is_coded_by_any_method(name, only_tiny_models):
    """Each part by its own."""
    front, chunks = read(FILES[name])
    alpha = smooth(front.head.height, front.head.width)[..., :1]
    pixels = np.dstack([codec.decode(FILES[name]), alpha])
    data = file_of(pixels, Coded(front.codings[0], chunks), coded_by(Stored(), alpha))
    assert codec.info(data).coding.endswith("; alpha: stored")
    assert (codec.decode(data) == pixels).all()


def test_a_named_model_leaves_indices_to_mixing():
    """And alpha and colour together, which no network codes."""
    image = Image.fromarray(smooth(40, 40)).quantize(30)
    assert codec.info(codec.compress(image, model=TINY, device="cpu")).coding == "mixing"
    flat = np.dstack([np.full((64, 64, 3), 9, np.uint8), np.where(np.mgrid[:64, :64].sum(0) > 60, 255, 0).astype(np.uint8)])
    assert codec.info(codec.compress(flat, model=TINY, device="cpu")).coding == "mixing"


def test_a_named_model_leaves_drawings_to_mixing():
    """But not one with a palette, of whose colours these are."""
    flat = np.full((90, 90, 3), 9, np.uint8)
    for model in (TINY, TINY_YCC, "photo-3", "past-3"):
        assert codec.info(codec.compress(flat, model=model, device="cpu")).coding == "mixing"
    assert codec.info(codec.compress(flat, model=TINY_PALETTE, device="cpu")).coding != "mixing"


def test_a_published_palette_codes_colours_and_no_ranks_or_indices(only_tiny_models):
    """Those of an RGBA picture that are the palette's stay so, although their ranks would not be."""
    from codec.palette.network import PaletteImageGPT

    palette = PaletteImageGPT.load(TINY_PALETTE, "cpu").palette
    own = palette.painted(palette.tokens(smooth(40, 40)), 3)
    pixels = np.dstack([own, picture(40, 40, 1) // 64 * 64])
    assert len(list(representations(Picture(pixels, form_of(pixels))))) == 2
    data = codec.compress(pixels, model=TINY_PALETTE, palette_only=True, device="cpu")
    assert codec.info(data).coding.startswith("palette; alpha: ")
    assert codec.info(data).representation == "samples"
    assert (codec.decode(data, model=TINY_PALETTE, device="cpu") == pixels).all()
    with pytest.raises(UnsupportedImageError, match="other colours"):
        codec.compress(smooth(40, 40), model=TINY_PALETTE, palette_only=True, device="cpu")
    image = Image.fromarray(smooth(40, 40)).quantize(9)
    assert codec.info(codec.compress(image, model=TINY_PALETTE, device="cpu")).coding == "mixing"


def test_other_colours_than_a_palettes_are_refused_in_whatever_picture():
    image, bits = Image.fromarray(smooth(40, 40)).quantize(9), Image.fromarray(smooth(40, 40)).convert("1")
    for other in (image, bits, smooth(40, 40).astype(np.uint16) * 3, np.full((9, 9), 7, np.uint16)):
        with pytest.raises(UnsupportedImageError, match="8 bits only"):
            codec.compress(other, model=TINY_PALETTE, palette_only=True, device="cpu")
    for channels in (2, 4):
        flat = np.full((64, 64, channels), 9, np.uint8)
        assert codec.info(codec.compress(flat, model=TINY_PALETTE, device="cpu")).coding == "mixing"
        with pytest.raises(UnsupportedImageError, match="other colours"):
            codec.compress(flat, model=TINY_PALETTE, palette_only=True, device="cpu")


# Stored


def noise(channels, depth, height=33, width=37):
    samples = np.random.default_rng(depth).integers(0, 1 << depth, (height, width, channels))
    return samples.astype(np.uint16 if depth == 16 else np.uint8)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (33, 37), (70, 90)])
def test_noise_is_never_larger_than_raw_and_head(size, channels, depth):
    pixels = noise(channels, depth, *size)
    data = codec.compress(pixels, device="cpu")
    assert len(data) <= 27 + pixels.nbytes
    assert (codec.decode(data).reshape(pixels.shape) == pixels).all()
    if size[0] > 3:
        assert codec.info(data).coding == "stored"


@pytest.mark.parametrize("colour", [GREY, INDEXED])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (9, 7), (64, 65)])
def test_noise_of_few_bits_is_never_larger_than_raw_and_head(size, depth, colour):
    pixels = noise(1, depth, *size)
    entries = np.random.default_rng(0).bytes(3 << depth)
    some = Picture(pixels, Form(colour, depth), ((b"PLTE", entries),) if colour == INDEXED else ())
    data = compress_picture(some, CPU)
    file = read(data)
    box = file.front.boxes.get(PALETTE, b"")
    assert len(box) <= len(entries) + 1
    raw = size[0] * -(-size[1] * depth // 8)
    assert len(data) <= 27 + raw + (len(box) + len(varint(len(box))) + 1 if box else 0)
    back = decompress_file(file, CPU)
    assert (back.form, back.chunks) == (some.form, some.chunks)
    assert (back.pixels == pixels).all()


@pytest.mark.parametrize(
    ("depth", "samples", "payload"),
    [
        (1, [[1, 0, 1, 1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0, 0, 0]], "b0 80 40 00"),
        (2, [[3, 0, 1], [1, 2, 3]], "c4 6c"),
        (4, [[15, 1, 2], [3, 4, 5]], "f1 20 34 50"),
        (8, [[7, 8], [9, 255]], "07 08 09 ff"),
        (16, [[1, 0x1234]], "00 01 12 34"),
    ],
)
def test_stored_samples_are_the_rows_of_a_png(depth, samples, payload):
    pixels = np.array(samples, np.uint16 if depth == 16 else np.uint8)[..., None]
    method, height, width = Stored(), *pixels.shape[:2]
    part = Part(width, height, 1, depth, Coding(0), (bytes.fromhex(payload),))
    found = method.decode(part, ignore)
    assert found.dtype == pixels.dtype
    assert (found == pixels).all()
    assert list(method.least_bytes(part)) == [len(part.chunks[0])]
    if depth in (8, 16):
        assert tuple(read(file_of(pixels, coded_by(method, pixels))).chunks) == part.chunks
    else:
        monochrome = remade(file_of(pixels, coded_by(method, pixels)), form=Form(GREY, depth), chunks=part.chunks)
        assert (codec.decode(monochrome) == pixels[..., 0]).all()


@pytest.mark.parametrize(("depth", "payload"), [(1, "b0 81 40 00"), (2, "c5 6c"), (4, "f1 21 34 50")])
def test_bits_behind_a_row_are_reserved(depth, payload):
    data = bytes.fromhex(payload)
    width = {1: 9, 2: 3, 4: 3}[depth]
    with pytest.raises(DamagedError, match="behind its rows"):
        Stored().decode(Part(width, 2, 1, depth, Coding(0), (data,)), ignore)


def test_a_stored_payload_has_one_size():
    pixels = noise(3, 8, 4, 5)
    data = file_of(pixels, coded_by(Stored(), pixels))
    for wrong, match in ((pixels.tobytes()[:-1], "too few for its pixels"), (pixels.tobytes() + b"x", "too many")):
        with pytest.raises(DamagedError, match=match):
            codec.decode(remade(data, chunks=[wrong]))


def test_what_a_large_estimate_costs_is_stored_after_all(monkeypatch):
    """An estimate that promised too much does not make a file larger."""
    from codec.methods import network

    monkeypatch.setattr(network.LayersCandidate, "estimate", lambda self: 1.0)
    pixels = noise(3, 8)
    data = codec.compress(pixels, device="cpu")
    assert len(data) <= 27 + pixels.nbytes
    assert not math.isclose(len(with_network(pixels)), len(data))
    assert Network.number not in [coding.method for coding in read(data).front.codings]
