"""What was compressed is checked before it is handed out: encoders that go wrong are found out."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream import envelope
from bitstream.errors import VerificationError
from codec import checking
from codec.mixing import bands as mixing
from codec.network import coding, layers
from codec.network.layers import Coded
from codec.network.model import IntegerImageGPT
from codec.palette.colours import packing
from codec.pasts.past import Past, recognised
from codec.pictures.pillow import picture_of
from codec.pictures.reading import MAX_PIXELS, open_picture
from codec.tiling.planes import RGB
from tests.conftest import CPU, TINY, TINY_PALETTE, TINY_YCC, decoded_jpeg, picture, smooth, with_past
from tests.test_envelope import deep, deep_png, saved, with_mode

PAST = decoded_jpeg(smooth(90, 110))


def pictures():
    """One of every kind of file."""
    transparent = Image.fromarray(np.dstack([picture(70, 45, 3), picture(70, 45, 1)]))
    return {
        "rgb": picture_of(Image.fromarray(picture(70, 45, 3))),
        "grey": picture_of(Image.fromarray(picture(33, 65, 1)[..., 0])),
        "past": picture_of(Image.fromarray(PAST)),
        "alpha": picture_of(transparent),
        "palette": picture_of(with_mode("P", (40, 90))),
        "deep": open_picture(io.BytesIO(deep_png(deep(40, 33, 3))), MAX_PIXELS),
        "levels": open_picture(io.BytesIO(deep_png(smooth(40, 33).astype(np.uint16) * 257)), MAX_PIXELS),
        "text": open_picture(io.BytesIO(saved(Image.fromarray(picture(20, 20, 3)), dpi=(72, 72))), MAX_PIXELS),
    }


PICTURES = pictures()


def spoiled(monkeypatch, rows):
    """Makes the network's encoder write another token than it was given, in rows of the tiles."""
    right = coding.tokens_and_frequencies

    def wrong(network, group, samples, progress):
        changed = samples.copy()
        squares = changed.reshape(*changed.shape[:2], 32, 32)
        squares[:, -1, rows, 3] ^= 1
        return right(network, group, changed, progress)

    monkeypatch.setattr(coding, "tokens_and_frequencies", wrong)


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_right_passes(name, only_tiny_models):
    data = codec.compress_picture(PICTURES[name], device="cpu", verify=True)
    assert codec.compress_picture(PICTURES[name], device="cpu") == data
    assert ("past" in codec.info(data)) == (name == "past")


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("name", ["rgb", "grey", "past", "alpha", "text"])
def test_a_network_that_codes_something_else_is_found(name, verify, only_tiny_models, monkeypatch):
    spoiled(monkeypatch, 1)
    with pytest.raises(VerificationError, match="report"):
        codec.compress_picture(PICTURES[name], model=TINY_YCC if name == "past" else TINY, device="cpu", verify=verify)


def test_what_goes_wrong_late_is_found_by_a_whole_check_only(monkeypatch):
    spoiled(monkeypatch, 30)
    codec.compress_picture(PICTURES["rgb"], model=TINY, device="cpu")
    with pytest.raises(VerificationError):
        codec.compress_picture(PICTURES["rgb"], model=TINY, device="cpu", verify=True)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("name", ["palette", "deep", "levels"])
def test_a_drawing_that_is_another_is_found(name, verify, only_tiny_models, monkeypatch):
    right = mixing.encode

    def wrong(planes, *more):
        return right(planes ^ (np.arange(planes.shape[1])[:, None] == 1), *more)

    monkeypatch.setattr(mixing, "encode", wrong)
    monkeypatch.setattr(mixing, "promising", lambda _: True)
    with pytest.raises(VerificationError):
        codec.compress_picture(PICTURES[name], device="cpu", verify=verify)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("change", [{"chunks": ()}, {"depth": 4}, {"levels": tuple(range(256))}])
def test_an_envelope_that_is_another_is_found(change, verify, only_tiny_models, monkeypatch):
    if "levels" in change:
        some = PICTURES["levels"]
    else:
        some = picture_of(with_mode("L", (20, 20)))
        some = type(some)(some.pixels & 15, some.form, ((b"tEXt", b"a\0b"),))
    right = envelope.write_envelope
    monkeypatch.setattr(envelope, "write_envelope", lambda whole: right(whole._replace(**change)))
    with pytest.raises(VerificationError):
        codec.compress_picture(some, device="cpu", verify=verify)


@pytest.mark.parametrize("verify", [False, True])
def test_a_past_of_other_pixels_is_found(verify, only_tiny_models, monkeypatch):
    right, some = Past.pixels, PICTURES["past"]

    def wrong(past):
        pixels = right(past)
        pixels[-1, -1] ^= 1
        return pixels

    monkeypatch.setattr(Past, "pixels", wrong)
    with pytest.raises(VerificationError):
        codec.compress_picture(some, device="cpu", verify=verify)


def test_a_header_that_is_another_is_found():
    past = recognised(PAST)
    assert past
    part = checking.Part(PAST, with_past(PAST), Coded(IntegerImageGPT.load(TINY_YCC, CPU), past, layers.layers_of(PAST, past)))
    checking.check_beginnings(part.data, picture_of(Image.fromarray(PAST)), [part], lambda _: None)
    other = replace(past, luma=past.luma ^ 1)
    for what, changed in (
        ("model", part._replace(coded=part.coded._replace(network=IntegerImageGPT.load(TINY, CPU)))),
        ("size", part._replace(pixels=PAST[:-1])),
        ("digest", part._replace(pixels=part.pixels ^ 1)),
        ("past", part._replace(coded=part.coded._replace(past=other))),
        ("chunks", part._replace(coded=part.coded._replace(layers=part.coded.layers[:1]))),
    ):
        with pytest.raises(VerificationError, match=what):
            checking.check_beginnings(part.data, picture_of(Image.fromarray(changed.pixels)), [changed], lambda _: None)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("spoil", [False, True])
def test_a_palettes_tokens_are_checked(spoil, verify, only_tiny_models, monkeypatch):
    right = packing.encode_tokens
    if spoil:
        monkeypatch.setattr(packing, "encode_tokens", lambda network, tokens, *rest: right(network, tokens ^ 1, *rest))
    with pytest.raises(VerificationError) if spoil else contextlib.nullcontext():
        codec.compress(Image.fromarray(smooth(20, 34)), model=TINY_PALETTE, device="cpu", verify=verify)


@pytest.mark.parametrize("positions", [33, 64])
def test_a_limited_decode_is_the_beginning(positions, tiny):
    pixels = picture(40, 50, 3)
    (layer,) = layers.layers_of(pixels, None)
    payloads = layers.encode_layer(tiny, layer, 3, lambda _: None)
    wanted = [layers.Wanted(tiny, RGB, (layer.grid.width, layer.grid.height), layers.NOTHING, 3, payloads)]
    whole, begun = (list(layers.decoded_tiles(wanted, lambda _: None, most)) for most in (1024, positions))
    for (_, first, all_samples), (_, same, samples) in zip(whole, begun, strict=True):
        assert first == same
        assert (samples[..., :positions] == all_samples[..., :positions]).all()


def test_verifying_is_progress_too(only_tiny_models):
    for verify in (False, True):
        done = []
        codec.compress_picture(PICTURES["rgb"], device="cpu", verify=verify, progress=done.append)
        assert sum(done) == 70 * 45
