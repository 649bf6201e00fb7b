"""Pasts: formulas and filters to the bit, recognition, recovery, and what files make of them."""

import io
import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from typer.testing import CliRunner

import cli
import codec
from bitstream.container import read
from bitstream.outliers import pack, unpack
from codec import models
from codec.methods.method import ModelName, Source
from codec.methods.mixing import Mixing
from codec.methods.past import Fields, PastMethod
from codec.pasts import recovery
from codec.pasts.chroma import FILTERS, FULL, STRIP, Sampling
from codec.pasts.colour import FORMULAS, clipped
from codec.pasts.past import SPOTS, developed, formula_of, recognised, sampling_of, translated
from codec.progress import ignore
from codec.tiling.tiles import Shape
from tests import plain_decoder
from tests.conftest import TINY, TINY_YCC, coded_by, decoded_jpeg, photo_cd, picture, remade, smooth, with_past

JPEG, PHOTO_CD, STB = FORMULAS


def triples(seed=0, count=200_000):
    luma, *chroma = np.random.default_rng(seed).integers(0, 256, (3, count)).astype(np.uint8)
    return luma, np.stack(chroma)


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.name)
def test_formulas_are_those_of_the_document(formula):
    luma, chroma = triples()
    expected = plain_decoder.develop(formula.code, *(x.astype(np.int64) for x in (luma, *chroma)))
    assert (formula.pixels(luma, chroma) == expected).all()


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.name)
def test_the_way_back_is_exact(formula):
    luma, chroma = triples(1)
    pixels = formula.pixels(luma, chroma)
    c1, c2, known = formula.chroma(pixels)
    assert (known == ~clipped(pixels)).all()
    assert (np.stack([c1, c2]) == chroma)[:, known].all()
    low, high = formula.luma_range(pixels, *chroma.astype(np.int32))
    assert ((low <= luma) & (luma <= high)).all()
    assert (low == high)[known].all()


def test_the_formula_is_that_of_the_installed_jpeg_decoder():
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(stream, "JPEG", quality=95, subsampling=0)
    planes = Image.open(stream)
    planes.draft("YCbCr", planes.size)
    luma, *chroma = np.moveaxis(np.asarray(planes), 2, 0)
    assert (JPEG.pixels(luma, np.stack(chroma)) == np.asarray(Image.open(stream))).all()


def test_fields_are_bits_of_a_byte():
    """Of every filter, formula and place, and those of the document."""
    assert [f.code for f in FILTERS] == list(range(8))
    assert [f.code for f in FORMULAS] == [0, 1, 2]
    assert [(f.down, f.across) for f in FILTERS] == list(plain_decoder.CELLS)
    first = set()
    for filter_ in FILTERS:
        for formula in (JPEG, PHOTO_CD):
            for top, left, ring, outliers in np.ndindex(filter_.down, filter_.across, 2, 2):
                fields = Fields(
                    formula, Sampling(filter_, top, left, ring), bool(outliers), Shape(3, 300 // 5), [ModelName(bytes(16), "x")]
                )
                data = fields.to_bytes()
                assert data[0] == filter_.code | formula.code << 3 | top << 4 | left << 5 | ring << 6 | outliers << 7
                assert data[1:] == b"\x03\x3c" + bytes(16) + b"\1x"
                first.add(data[0])
    assert len(first) == 8 * sum(f.down * f.across for f in FILTERS)


@pytest.mark.parametrize("filter_", FILTERS, ids=lambda f: f.name)
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_upsampling_is_that_of_the_document(filter_, place):
    top, left, ring = place
    sampling = Sampling(filter_, top % filter_.down, left % filter_.across, ring)
    for height, width in ((9, 14), (1, 1), (8, 5)):
        small = np.random.default_rng(0).integers(0, 256, (2, *sampling.small_shape(height, width))).astype(np.uint8)
        expected = plain_decoder.upsample(small.astype(np.int64), filter_.code, sampling.top, sampling.left, ring, height, width)
        assert (sampling.upsampled(small, height, width) == expected).all()


def test_upsampling_in_strips_has_no_seams():
    sampling = Sampling(FILTERS[1], 1, 0)
    height = 2 * STRIP + 77
    small = np.random.default_rng(0).integers(0, 256, (2, *sampling.small_shape(height, 6))).astype(np.uint8)
    whole = sampling.rounded(sampling.sums(small.astype(np.int32), height, 6))
    assert (sampling.upsampled(small, height, 6) == whole).all()


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [75, 90, 95])
@pytest.mark.parametrize("size", [(96, 130), (83, 71)])
def test_decoded_jpegs_are_recognised(size, quality, subsampling):
    pixels = decoded_jpeg(smooth(*size), quality, subsampling)
    past = recognised(pixels)
    assert (past.formula, past.sampling.filter.name) == (JPEG, subsampling)
    assert past.chroma.shape[1:] == past.sampling.small_shape(*size)
    assert len(past.positions) <= 0.002 * past.luma.size
    assert (past.pixels() == pixels).all()


@pytest.mark.parametrize(("y", "x"), [(0, 1), (1, 0), (5, 11)])
def test_crops_keep_their_past(y, x):
    pixels = decoded_jpeg(smooth(120, 120))[y : y + 96, x : x + 96]
    past = recognised(pixels)
    assert (past.sampling.filter.name, past.sampling.top, past.sampling.left) == ("4:2:0", y % 2, x % 2)
    assert len(past.positions) <= 0.01 * past.luma.size
    assert (past.pixels() == pixels).all()


@pytest.mark.parametrize(
    "turned", [lambda p: p, lambda p: p[::-1].copy(), lambda p: p.transpose(1, 0, 2).copy()], ids=["", "flipped", "turned"]
)
def test_photo_cds_are_recognised(turned):
    pixels = turned(photo_cd(97, 130))
    past = recognised(pixels)
    assert (past.formula, past.sampling.filter.name) == (PHOTO_CD, "4:2:0, averaged")
    assert not len(past.positions)
    assert (past.pixels() == pixels).all()


def test_repeated_chroma_is_recognised():
    small = smooth(40, 40).transpose(2, 0, 1)[:2]
    pixels = developed(JPEG, smooth(80, 80)[..., 2] // 2 + 50, small.repeat(2, 1).repeat(2, 2) // 4 + 96)
    past = recognised(pixels)
    assert past.sampling.filter.name == "4:2:0, repeated"
    assert not len(past.positions)


@pytest.mark.parametrize("white", [0, 150])
def test_blocks_are_recovered_as_a_whole(monkeypatch, white):
    """Also such as know nothing, being white all over."""
    picture = smooth(300, 160)
    picture[:white] = 255
    pixels = decoded_jpeg(picture)
    monkeypatch.setattr(recovery, "STRIP", 64)
    past = recognised(pixels)
    assert past.sampling.filter.name == "4:2:0"
    assert len(past.positions) <= 0.01 * past.luma.size
    assert (past.pixels() == pixels).all()


def test_drawings_are_given_up_soon():
    """Grey text lies on the lattice, pure red does not."""
    rng = np.random.default_rng(0)
    pixels = np.full((700, 900, 3), 250, np.uint8)
    pixels[rng.random((700, 900)) < 0.3] = 90
    pixels[:, 300:600] = 255, 0, 0
    start = time.perf_counter()
    assert recognised(pixels) is None
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.name)
def test_what_a_formula_can_give(formula):
    luma, chroma = triples(count=50)
    assert formula.gives(formula.pixels(luma, chroma)).all()
    others = np.random.default_rng(0).integers(1, 255, (50, 3)).astype(np.uint8)
    assert (formula.gives(others) == formula.chroma(others)[2]).all()
    assert formula.gives(np.array([[255, 0, 0]], np.uint8))[0] == (formula is PHOTO_CD)


def test_a_border_does_not_hide_a_past():
    pixels = decoded_jpeg(smooth(64, 128)).copy()
    pixels[:, 0] = 255
    said = []
    assert recognised(np.ascontiguousarray(np.tile(pixels, (40, 1, 1))), said.append) is not None
    assert len(said) > SPOTS
    assert not any(said)


def test_clipped_pixels_continue_what_surrounds_them():
    """Blown highlights: no certain chroma there, and few outliers all the same."""
    bright = smooth(96, 96).astype(np.int64) * 2 - 60
    pixels = decoded_jpeg(bright.clip(0, 255).astype(np.uint8), 95)
    assert clipped(pixels).mean() > 0.05
    past = recognised(pixels)
    assert len(past.positions) < 0.1 * clipped(pixels).sum()
    assert (past.pixels() == pixels).all()


def test_other_pictures_have_no_past():
    rng = np.random.default_rng(0)
    assert recognised(smooth(64, 64)) is None
    assert recognised(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)) is None
    assert recognised(rng.choice([0, 255], (64, 64, 3)).astype(np.uint8)) is None  # all clipped
    assert recognised(picture(50, 60, 3)) is None
    assert formula_of(smooth(1, 1)) in (None, JPEG)  # one pixel may lie on the lattice


def test_grey_as_colour_has_constant_chroma():
    pixels = smooth(64, 64)[..., :1].repeat(3, -1)
    past = recognised(pixels)
    assert (past.chroma == 128).all()
    assert (past.pixels() == pixels).all()
    assert sampling_of(pixels, JPEG).filter is not FULL


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 2), (64, 65), (5, 3)])
def test_any_size_with_a_past(size):
    for pixels in (decoded_jpeg(smooth(*size)), photo_cd(*size)):
        past = recognised(pixels)
        if past is not None:
            assert (past.pixels() == pixels).all()
            data = with_past(pixels)
            assert (codec.decode(data, model=TINY_YCC, device="cpu") == pixels).all()


def test_the_smaller_is_chosen(only_tiny_models, monkeypatch):
    monkeypatch.setattr(Mixing, "offer", lambda *_: [])  # the tiny models are so bad that files without them win
    pixels = decoded_jpeg(smooth(80, 90), 75)
    chosen, without = (codec.compress(pixels, device="cpu", past=past) for past in (True, False))
    assert codec.info(chosen).coding == "decoded JPEG, quality about 75, 4:2:0"
    assert len(chosen) < len(without)
    assert codec.info(without).coding == "network"
    for data in (chosen, without):
        assert (codec.decode(data, device="cpu") == pixels).all()
    tiny_picture = decoded_jpeg(smooth(2, 2))
    assert len(codec.compress(tiny_picture, device="cpu")) <= len(codec.compress(tiny_picture, device="cpu", past=False))


@pytest.mark.parametrize(
    "change", [{"indices": True}, {"original": False}, {"samples": smooth(40, 40)}, {"samples": decoded_jpeg(smooth(40, 40)).astype("u2")}]
)
def test_only_a_pictures_own_samples_have_a_past(change, only_tiny_models):
    offered = PastMethod().offer(Source(**({"samples": decoded_jpeg(smooth(40, 40))} | change)), ignore)
    assert not offered
    assert PastMethod().offer(Source(decoded_jpeg(smooth(40, 40))), ignore)


def test_chunks_are_outliers_chroma_luma():
    """The first only where there are any."""
    pixels = photo_cd(70, 80)
    spotted = pixels.copy()
    spotted[10:14, 5] ^= 1
    for changed, outliers in ((pixels, 0), (spotted, 1)):
        coded = coded_by(PastMethod(), changed, model=TINY_YCC)
        assert len(coded.chunks) == outliers + 2
        assert coded.coding.fields[0] >> 7 == outliers
        if outliers:
            positions, corrections = unpack(coded.chunks[0], 5600, 700)
            assert set(zip(*np.divmod(positions, 80), strict=True)) <= {(y, 5) for y in range(10, 14)}
            assert 1 <= len(corrections) == len(positions)


def test_batches_and_threads_do_not_change_a_past(monkeypatch):
    from codec.network import coding

    pixels = decoded_jpeg(smooth(100, 140))
    data = with_past(pixels)
    for threads, tiles in ((1, 1), (2, 7)):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        monkeypatch.setitem(coding.ENCODED_TILES, "cpu", tiles)
        monkeypatch.setitem(coding.DECODED_TILES, "cpu", tiles)
        assert with_past(pixels) == data
        assert (codec.decode(data, model=TINY_YCC, device="cpu") == pixels).all()


def test_commands(tmp_path, only_tiny_models):
    source = tmp_path / "p.png"
    Image.fromarray(decoded_jpeg(smooth(64, 64))).save(source)
    run = CliRunner().invoke
    assert "decoded JPEG, quality about 90, 4:2:0" in run(cli.app, ["compress", str(source), "-v"]).stderr
    assert "decoded JPEG, quality about 90, 4:2:0" in run(cli.app, ["info", str(tmp_path / "p.igpt")]).stdout
    assert run(cli.app, ["verify", str(tmp_path / "p.igpt")]).exit_code == 0
    assert run(cli.app, ["heatmap", str(source)]).exit_code == 0
    with Image.open(tmp_path / "p.heat.png") as heat:
        assert min(heat.size) > 2 * 64
    assert run(cli.app, ["compress", str(source), "--no-past", "-f"]).exit_code == 0
    assert "past" not in run(cli.app, ["info", str(tmp_path / "p.igpt")]).stdout


@given(st.data())
def test_outliers(data):
    count, pixels = data.draw(st.integers(1, 50)), 5000
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    positions = np.sort(rng.choice(pixels, count, replace=False))
    corrections = rng.integers(0, 256, (count, 3)).astype(np.uint8)
    found = unpack(pack(positions, corrections), pixels, 50)
    assert (found[0] == positions).all()
    assert (found[1] == corrections).all()
    with pytest.raises(codec.DamagedError):
        unpack(pack(positions, corrections), int(positions[-1]), 50)
    with pytest.raises(codec.DamagedError):
        unpack(pack(positions, corrections), pixels, count - 1)


THREE = pack(np.arange(3), np.zeros((3, 3), np.uint8))


@pytest.mark.parametrize("payload", [b"", b"x", zlib.compress(b"\0"), THREE + b"x", THREE[:-1]])
def test_damaged_outliers_are_refused(payload):
    with pytest.raises(codec.DamagedError):
        unpack(payload, 5000, 50)


def test_outliers_that_inflate_without_end_are_refused():
    with pytest.raises(codec.DamagedError):
        unpack(zlib.compress(bytes(10_000_000)), 5000, 50)


def changed_fields(data, change):
    """The file with other fields of its coding."""
    (coding,) = read(data).front.codings
    return remade(data, codings=[coding._replace(fields=change(coding.fields))])


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (1, None),
        (0, "payload is damaged"),  # chroma of full size
        (3, "payload is damaged"),
        (1 | 8, "payload is damaged"),  # the other formula
        (0 | 1 << 4, "sampling is not possible"),
        (2 | 1 << 4, "sampling is not possible"),
        (5 | 1 << 4, "sampling is not possible"),
        (1 | 1 << 4, "payload is damaged"),
        (1 | 1 << 6, "payload is damaged"),
        (1 | 1 << 7, "2 chunks, which are too few"),
    ],
)
def test_other_pasts_are_refused(first, what):
    """Of 4:2:0, without outliers, with a group of chroma, as another past has, and one of luma."""
    data = with_past(photo_cd(80, 80))
    (coding,) = read(data).front.codings
    assert coding.fields[0] == 7 | 8
    data = with_past(quiet := decoded(80, 80))
    assert read(data).front.codings[0].fields[0] == 1
    data = changed_fields(data, lambda fields: bytes((first,)) + fields[1:])
    if what is None:
        assert (codec.decode(data, model=TINY_YCC) == quiet).all()
        return
    with pytest.raises(codec.DamagedError, match=what):
        codec.decode(data, model=TINY_YCC, device="cpu")


def decoded(height, width):
    """What a JPEG of 4:2:0 becomes, without outliers."""
    y, x = np.mgrid[: height // 2, : width // 2]
    small = np.stack([x + 100, 140 - y]).astype(np.uint8)
    return developed(JPEG, smooth(height, width, 1)[..., 0] // 2 + 60, Sampling(FILTERS[1]).upsampled(small, height, width))


def test_a_past_needs_a_model_for_it():
    digest = models.digest_of(TINY)
    data = changed_fields(with_past(decoded_jpeg(smooth(64, 64))), lambda fields: fields[:3] + digest + fields[19:])
    with pytest.raises(codec.DamagedError, match="does not code"):
        codec.decompress(data, model=TINY, device="cpu")


@pytest.mark.parametrize("extra", [b"\0", b"\0" * 3, b"\1" * 8])
@pytest.mark.parametrize("k", range(2))
def test_payloads_are_whole_words_and_end_with_their_tokens(extra, k):
    """Of chroma and of luma."""
    data = with_past(decoded(80, 80))
    chunks = list(read(data).chunks)
    assert len(chunks) == 2
    chunks[k] += extra
    with pytest.raises(codec.DamagedError, match="payload is damaged"):
        codec.decompress(remade(data, chunks=chunks), model=TINY_YCC, device="cpu")


@pytest.mark.parametrize("colourful", [0.5, 1.0])
def test_planes_that_stb_image_developed_are_coded_as_libjpegs(photograph, colourful):
    """It has no formula of its own in a file, and its JPEG is not found where steps are 1."""
    planes = np.asarray(ImageEnhance.Color(Image.fromarray(photograph)).enhance(colourful).convert("YCbCr"))
    pixels = STB.pixels(planes[..., 0], np.moveaxis(planes[..., 1:], -1, 0))
    past = recognised(pixels)
    assert past is not None
    assert past.formula is STB
    told = translated(past, pixels)
    assert told is not None
    assert np.array_equal(told.pixels(), pixels)
    coded = codec.compress(pixels, device="cpu")
    assert codec.info(coded).coding == "decoded JPEG, 4:4:4"  # by its planes: of coefficients the quality is told
    assert np.array_equal(codec.decode(coded, device="cpu"), pixels)
