"""What was compressed is checked before it is handed out: encoders that go wrong are found out."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream import container
from bitstream.errors import VerificationError
from bitstream.form import PALETTE as INDEXED
from bitstream.form import Form
from codec import checking, compression
from codec.compression import compress_picture
from codec.jpeg import coefficients
from codec.jpeg.coefficients import Plane
from codec.methods.inside import DecodedJpeg
from codec.methods.method import Coded
from codec.methods.past import MadeOf, PastMethod, layers_of
from codec.mixing import bands as mixing
from codec.network import coding, engines, layers
from codec.network.model import IntegerImageGPT
from codec.options import Options
from codec.palette import coding as palette_coding
from codec.pasts.past import Past
from codec.pictures.picture import Picture
from codec.pictures.pillow import picture_of
from codec.pictures.reading import MAX_PIXELS, open_picture, picture_in
from codec.progress import ignore
from codec.tiling.planes import RGB, pixels_to_planes
from codec.tiling.tiles import Shape
from tests.conftest import CPU, TINY, TINY_DCT, TINY_PALETTE, TINY_YCC, coded_by, decoded_jpeg, file_of, picture, remade, smooth
from tests.picture_files import deep, deep_png, saved, with_mode

PAST = decoded_jpeg(smooth(90, 110))
pytestmark = pytest.mark.usefixtures("only_tiny_models", "nothing_stored")


def pictures():
    """One of every kind of file."""
    edited = (smooth(70, 45).astype(int) * 5 // 4).clip(0, 255).astype(np.uint8)
    ramp = Picture(smooth(40, 33)[..., :1], Form(INDEXED, 8), ((b"PLTE", bytes(np.arange(256).astype(np.uint8).repeat(3))),))
    return {
        "rgb": picture_of(Image.fromarray(picture(70, 45, 3))),
        "grey": picture_of(Image.fromarray(picture(33, 65, 1)[..., 0])),
        "past": picture_of(Image.fromarray(PAST)),
        "alpha": picture_of(Image.fromarray(np.dstack([picture(70, 45, 3), picture(70, 45, 1)]))),
        "palette": picture_of(with_mode("P", (40, 90))),
        "ramp": ramp,
        "deep": open_picture(io.BytesIO(deep_png(deep(40, 33, 3))), MAX_PIXELS),
        "levels": open_picture(io.BytesIO(deep_png(smooth(40, 33).astype(np.uint16) * 257)), MAX_PIXELS),
        "ranks": picture_of(Image.fromarray(edited)),
        "text": open_picture(io.BytesIO(saved(Image.fromarray(picture(20, 20, 3)), "PNG", dpi=(72, 72))), MAX_PIXELS),
    }


PICTURES = pictures()


def compressed(picture, **options):
    return compress_picture(picture, Options(device="cpu", **options))


def spoiled(monkeypatch, rows):
    """Makes the network's encoder write another token than it was given, in rows of the tiles."""
    right = coding.tokens_and_frequencies

    def wrong(network, turns, progress):
        changed = [samples.copy() for _, samples in turns]
        for samples in changed:
            samples.reshape(*samples.shape[:2], 32, 32)[:, -1, rows, 3] ^= 1
        return right(network, [(turn, samples) for (turn, _), samples in zip(turns, changed, strict=True)], progress)

    monkeypatch.setattr(coding, "tokens_and_frequencies", wrong)


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_right_passes(name):
    data = compressed(PICTURES[name], verify=True)
    assert compressed(PICTURES[name]) == data
    assert (codec.decode(data, device="cpu").reshape(PICTURES[name].pixels.shape) == PICTURES[name].pixels).all()
    assert ("JPEG" in codec.info(data).coding) == (name == "past")


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("name", ["rgb", "grey", "past", "alpha", "levels", "ranks"])
def test_a_network_that_codes_something_else_is_found(name, verify, monkeypatch):
    spoiled(monkeypatch, 1)
    monkeypatch.setattr(DecodedJpeg, "offer", lambda *_: [])
    with pytest.raises(VerificationError, match="report"):
        compressed(PICTURES[name], model=TINY_YCC if name == "past" else TINY, verify=verify)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("name", ["past", "file"])
def test_coefficients_that_are_coded_wrong_are_found(name, verify, monkeypatch):
    right = coefficients.encode

    def wrong(planes, *more):
        return right([Plane(planes[0].steps, planes[0].coefficients ^ 1), *planes[1:]], *more)

    monkeypatch.setattr(coefficients, "encode", wrong)
    picture = PICTURES["past"] if name == "past" else picture_in(saved(Image.fromarray(PAST), "JPEG"))
    with pytest.raises(VerificationError, match="report"):
        compressed(picture, model=TINY_DCT, verify=verify)


def test_what_goes_wrong_late_is_found_by_a_whole_check_only(monkeypatch):
    spoiled(monkeypatch, 30)
    compressed(PICTURES["rgb"], model=TINY)
    with pytest.raises(VerificationError):
        compressed(PICTURES["rgb"], model=TINY, verify=True)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("name", ["palette", "deep", "levels", "alpha"])
def test_mixing_that_codes_something_else_is_found(name, verify, monkeypatch):
    right = mixing.encode

    def wrong(planes, *more):
        return right(planes ^ (np.arange(planes.shape[1])[:, None] == 1), *more)

    monkeypatch.setattr(mixing, "encode", wrong)
    monkeypatch.setattr(mixing, "promising", lambda _: True)
    with pytest.raises(VerificationError):
        compressed(PICTURES[name], verify=verify)


SIXTEEN = picture_of(with_mode("L", (20, 20)))
SIXTEEN = Picture(SIXTEEN.pixels & 15, SIXTEEN.form, ((b"tEXt", b"a\0b"),))
WRONG_FRONTS = {
    "no metadata": (SIXTEEN, {"boxes": {container.METADATA: None}}),
    "other metadata": (SIXTEEN, {"boxes": {container.METADATA: b"\6tEXt\1x"}}),
    "other bits": (SIXTEEN, {"form": Form(0, 4)}),
    "other colours": (SIXTEEN, {"form": Form(2, 8)}),
    "other size": (SIXTEEN, {"width": 10, "height": 40}),
    "other digest": (SIXTEEN, {"digest": bytes(8)}),
    "other levels": (PICTURES["levels"], {"boxes": {container.LEVELS: None}}),
    "other ranks": (PICTURES["ranks"], {"boxes": {container.LEVELS: b"\1" + bytes(8) + bytes([255] * 24)}}),
    "other palette": (PICTURES["palette"], {"boxes": {container.PALETTE: bytes(9)}}),
    "other colours of a palette": (PICTURES["ramp"], {"boxes": {container.COLOURS: b"\3"}}),
    "other chunks": (PICTURES["rgb"], {"chunks": [b"abcd" * 2000] * 2}),
}


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("name", WRONG_FRONTS)
def test_a_front_that_is_another_is_found(name, verify, monkeypatch):
    some, changes = WRONG_FRONTS[name]
    right = compression.written
    monkeypatch.setattr(compression, "written", lambda *parts: remade(right(*parts), **changes))
    with pytest.raises(VerificationError):
        compressed(some, verify=verify)


@pytest.mark.parametrize("verify", [False, True])
def test_a_past_of_other_pixels_is_found(verify, monkeypatch):
    right, some = Past.pixels, PICTURES["past"]

    def wrong(past, wanted=None):
        pixels = right(past, wanted)
        pixels[-1, -1] ^= 1
        return pixels

    monkeypatch.setattr(Past, "pixels", wrong)
    with pytest.raises(VerificationError):
        compressed(some, verify=verify)


def test_fields_that_are_others_are_found():
    """What a method's fields say is compared with what it was to code."""
    part = coded_by(PastMethod(), PAST, model=TINY_YCC)
    made_of: MadeOf = part.made_of
    data = file_of(PAST, part)

    def check(pixels, coded):
        checking.check_beginnings(data, picture_of(Image.fromarray(pixels)), [pixels], [coded], ignore)

    check(PAST, part)
    past = made_of.past
    other = Past(past.formula, past.sampling, past.luma ^ 1, past.chroma, past.positions, past.corrections)
    corrected = Past(past.formula, past.sampling, past.luma, past.chroma, np.array([5]), np.ones((1, 3), np.uint8))
    for what, pixels, changes in (
        ("model", PAST, {"network": IntegerImageGPT.load(TINY, CPU)}),
        ("size", PAST[:-1], {}),
        ("digest", PAST ^ 1, {}),
        ("past", PAST, {"past": other}),
        ("outliers", PAST, {"past": corrected}),
        ("group", PAST, {"layers": layers_of(other)}),
    ):
        with pytest.raises(VerificationError, match=what):
            check(pixels, Coded(part.coding, part.chunks, made_of._replace(**changes)))


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("spoil", [False, True])
def test_a_palettes_tokens_are_checked(spoil, verify, monkeypatch):
    right = palette_coding.encode_tokens
    if spoil:
        monkeypatch.setattr(palette_coding, "encode_tokens", lambda network, tokens, *rest: right(network, tokens ^ 1, *rest))
    with pytest.raises(VerificationError) if spoil else contextlib.nullcontext():
        codec.compress(smooth(20, 34), model=TINY_PALETTE, device="cpu", verify=verify)


@pytest.mark.parametrize("positions", [33, 64])
def test_a_limited_decode_is_the_beginning(positions, tiny):
    layer = layers.Layer(RGB, pixels_to_planes(picture(40, 50, 3)))
    engine, (turn, samples) = engines.engine_of(tiny, layer.grid.tiles), layer.turns(layer.grid.whole)[0]
    (payload,) = layers.encode_layer(tiny, layer, Shape(2, 2), ignore)
    (found,) = coding.Decoding(engine, [payload]).turn({0: turn}, ignore, positions)
    rows, columns = turn.extents[0]
    assert (rows, columns) == (32, 32)
    assert (found[0, :, :positions] == samples[0, :, :positions]).all()
    assert (found[0, :, positions:] != samples[0, :, positions:]).any()


def test_verifying_is_progress_too():
    for verify in (False, True):
        for name in ("rgb", "alpha", "ranks"):
            done = []
            height, width, _ = PICTURES[name].pixels.shape
            compress_picture(PICTURES[name], Options(device="cpu", verify=verify), done.append)
            assert sum(done) == height * width
