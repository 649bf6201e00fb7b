"""igpt as a codec of numcodecs and zarr."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import codec
from tests.conftest import picture, smooth
from tests.picture_files import deep

numcodecs = pytest.importorskip("numcodecs", reason="numcodecs is not installed")
zarr = pytest.importorskip("zarr", reason="zarr is not installed")
PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
CHUNKS = [picture(40, 50, 1)[..., 0], *(picture(40, 50, channels) for channels in (1, 2, 3, 4)), deep(40, 50, 1)[..., 0], deep(40, 50, 4)]


def entry(group):
    ((name, value),) = PROJECT["entry-points"][group].items()
    return name, EntryPoint(name, value, group).load()


@pytest.fixture(autouse=True)
def registered():
    """As the entry points do it where igpt is installed."""
    name, found = entry("numcodecs.codecs")
    numcodecs.register_codec(found, name)
    zarr.registry.register_codec(*entry("zarr.codecs"))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_numcodecs(chunk):
    coder = numcodecs.get_codec({"id": "igpt", "level": "fast"})
    assert coder.get_config() == {"id": "igpt", "level": "fast"}
    data = coder.encode(chunk)
    assert codec.info(data).level in ("", "fast")
    found = coder.decode(data)
    assert found.dtype == chunk.dtype
    assert np.array_equal(found.reshape(chunk.shape), chunk)
    for order in "CF":
        out = np.empty(chunk.shape, chunk.dtype, order)
        coder.decode(data, out)
        assert np.array_equal(out, chunk)


@pytest.mark.parametrize(
    ("chunk", "why"),
    [
        (picture(4, 5, 3).astype(np.float32), "float32"),
        (picture(4, 5, 3).astype(np.int16), "int16"),
        (np.zeros((4, 5, 5), np.uint8), "shape"),
        (np.zeros((2, 4, 5, 3), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.asfortranarray(picture(4, 5, 3)), "order C"),
        (deep(4, 5, 1).astype(">u2"), "<u2"),
    ],
)
def test_numcodecs_refuses_what_would_not_come_back(chunk, why):
    with pytest.raises((TypeError, codec.UnsupportedImageError), match=why):
        numcodecs.get_codec({"id": "igpt"}).encode(chunk)


def test_unknown_levels():
    for name in ("numcodecs.codecs", "zarr.codecs"):
        with pytest.raises(codec.IgptError, match="level"):
            entry(name)[1](level="worst")


def array_of(version, path, pixels, chunks, **options):
    _, found = entry("numcodecs.codecs" if version == 2 else "zarr.codecs")
    how = {"compressors": found()} if version == 2 else {"compressors": None, "serializer": found()}
    return zarr.create_array(path, shape=pixels.shape, chunks=chunks, dtype=pixels.dtype, zarr_format=version, **how, **options)


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("pixels", CHUNKS)
def test_arrays(version, pixels, tmp_path):
    """Chunks at the edges are filled up; those written in part are read first."""
    chunks = (32, 32, *pixels.shape[2:])
    array = array_of(version, tmp_path / "x.zarr", pixels, chunks)
    array[:] = np.asfortranarray(pixels)
    array[3:5, 4:40] = pixels[3:5, 4:40]
    found = zarr.open_array(tmp_path / "x.zarr", mode="r")
    assert found.dtype == pixels.dtype
    assert np.array_equal(found[:], pixels)
    parts = [path for path in (tmp_path / "x.zarr").rglob("*") if path.is_file() and path.read_bytes().startswith(b"\x89IGP")]
    assert len(parts) == 4
    assert all((codec.info(path).height, codec.info(path).width) == (32, 32) for path in parts)


def test_arrays_that_would_not_come_back(tmp_path):
    pixels = smooth(40, 50)
    for name, version, some, options in (
        ("a", 2, pixels, {"order": "F"}),
        ("b", 2, pixels[..., 0].astype(">u2"), {}),
        ("c", 2, pixels.astype(np.int32), {}),
        ("d", 3, pixels.astype(np.int32), {}),
    ):
        array = array_of(version, tmp_path / name, some, some.shape, **options)
        with pytest.raises((TypeError, codec.UnsupportedImageError)):
            array[:] = some


def test_a_damaged_chunk(tmp_path):
    pixels = smooth(40, 50)
    array = array_of(2, tmp_path / "x", pixels, pixels.shape)
    array[:] = pixels
    (path,) = (path for path in (tmp_path / "x").iterdir() if path.name[0] != ".")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(codec.IgptError, match=r"truncated|damaged"):
        array[:]
