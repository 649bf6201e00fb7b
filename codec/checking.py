"""The check that what was just compressed comes back, before anybody relies on it: of the beginnings, or of everything.

The beginnings are those of every group of tiles and every band of rows, decoded as a decoder does it: from the file's own bytes, step by
step. The tables of checksums, names and sizes, the metadata and a past's way back to pixels are checked as a whole in any case.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import codec
from bitstream.errors import IgptError, VerificationError

if TYPE_CHECKING:
    from bitstream.header import Header
    from codec.network.layers import Coded, Layer
    from codec.network.model import IntegerImageGPT
    from codec.palette.network import PaletteImageGPT
    from codec.pasts.past import Past
    from codec.pictures.picture import Picture
    from codec.tiling.planes import Pixels

CHECKED_POSITIONS = 64  # of every tile: two rows
CHECKED_SHARE = 16  # of the rows of a band, one in so many, but no less than
CHECKED_ROWS = 4


class Part(NamedTuple):
    """A file without an envelope, and what it was made of.

    pixels: (height, width, channels); coded: by a network, else it is a drawing; palette: the network that coded the tokens, of which
    `coded` has the refinement.
    """

    pixels: "Pixels"
    data: bytes
    coded: "Coded | None" = None
    palette: "PaletteImageGPT | None" = None


def check_whole(data: bytes, picture: "Picture", model: Path | None, device: str, progress: "codec.Progress") -> None:
    """Decompresses everything. Raises VerificationError where that is not the picture."""
    height, width, _ = picture.pixels.shape
    with _verified():
        found = codec.decompress_picture(data, model=model, device=device, max_pixels=height * width, progress=progress)
        _require(found.form == picture.form and (picture.plain or found.chunks == picture.chunks), "its form or its metadata differ")
        _require(np.array_equal(found.pixels, picture.pixels), "its pixels differ")


def check_beginnings(data: bytes, picture: "Picture", parts: list[Part], progress: "codec.Progress") -> None:
    """Raises VerificationError where the file does not begin as the picture does. progress: called with 0, now and then."""
    from bitstream.envelope import Envelope, headers_of, is_envelope, read_envelope

    with _verified():
        levels: tuple[int, ...] = ()
        if is_envelope(data):
            envelope = read_envelope(data)
            headers_of(envelope)
            levels = envelope.levels
            expected = Envelope(picture.form.colour, picture.form.depth, picture.chunks, tuple(part.data for part in parts), levels)
            _require(envelope == expected, "its form or its metadata differ")
        else:
            _require(picture.plain and [part.data for part in parts] == [data], "its form differs")
        first = 0
        for part in parts:
            last = first + part.pixels.shape[2]
            samples = np.array(levels, np.uint16)[part.pixels] if levels else part.pixels
            _require(np.array_equal(samples, picture.pixels[..., first:last]), "its samples are others")
            _check_part(part, is_envelope(data), progress)
            first = last


def _check_part(part: Part, enclosed: bool, progress: "codec.Progress") -> None:
    from bitstream.container import read_file

    header, payloads = read_file(part.data, enclosed)
    _require((header.height, header.width, header.channels) == part.pixels.shape, "its size differs")
    _require(header.bit_depth == 8 * part.pixels.itemsize, "its bit depth differs")
    _require(header.pixel_digest == codec.pixel_digest(part.pixels), "its digest is another")
    if header.rows:
        _check_drawing(header, payloads, part.pixels, progress)
        return
    if part.palette:
        payloads = _check_tokens(header, payloads, part.palette, part.pixels, progress)
    if part.coded:
        network, past, layers = part.coded
        digest = header.refinement_digest if part.palette else header.model_digest
        _require(digest == network.digest, "its model is another")
        if past:
            payloads = _check_past(header, payloads, past, part.pixels)
        for layer in layers:
            count = header.groups_of((layer.grid.width, layer.grid.height))
            _check_layer(network, layer, header.tiles_per_group, payloads[:count], progress)
            payloads = payloads[count:]
    _require(not payloads, "it has other chunks")


def _check_drawing(header: "Header", payloads: list[bytes], pixels: "Pixels", progress: "codec.Progress") -> None:
    from codec.mixing import bands as mixing
    from codec.tiling.planes import pixels_to_planes

    most, size = max(CHECKED_ROWS, header.rows // CHECKED_SHARE), (header.width, header.height)
    numerics_version, depth = header.numerics_version, header.bit_depth
    found = mixing.decode(payloads, size, header.channels, header.rows, lambda _: progress(0), numerics_version, depth, most)
    expected = pixels_to_planes(pixels)
    for band in mixing.bands(header.height, header.rows):
        rows = slice(band.start, min(band.start + most, band.stop))
        _require(np.array_equal(found[:, rows], expected[:, rows]), f"from row {band.start} on its pixels differ")


def _check_past(header: "Header", payloads: list[bytes], past: "Past", pixels: "Pixels") -> list[bytes]:
    """The whole way from the past's planes to the pixels; the payloads of its layers."""
    from bitstream.outliers import unpack
    from codec.network.layers import fields_of

    _require(header.past == fields_of(past), "its past is another")
    positions, corrections = unpack(payloads[0], header.width * header.height, header.most_exceptions)
    _require(np.array_equal(positions, past.positions) and np.array_equal(corrections, past.corrections), "its exceptions are others")
    _require(np.array_equal(past.pixels(), pixels), "its past is not that of its pixels")
    return payloads[1:]


def _check_tokens(
    header: "Header", payloads: list[bytes], network: "PaletteImageGPT", pixels: "Pixels", progress: "codec.Progress"
) -> list[bytes]:
    """The beginnings of the tiles of tokens; the payloads that are left."""
    from codec.palette.coding import decode_tokens

    _require(header.model_digest == network.digest, "its model is another")
    count, size = header.groups_of(header.layers[0]), (header.width, header.height)
    found = decode_tokens(network, size, header.tiles_per_group, payloads[:count], lambda _: progress(0), CHECKED_POSITIONS)
    begins = np.arange(header.height) % header.tile_side < CHECKED_POSITIONS // header.tile_side
    _require(np.array_equal(found[begins], network.palette.tokens(pixels)[begins]), "its tokens differ")
    return payloads[count:]


def _check_layer(
    network: "IntegerImageGPT", layer: "Layer", tiles_per_group: int, payloads: list[bytes], progress: "codec.Progress"
) -> None:
    from codec.network.coding import present
    from codec.network.layers import Wanted, decoded_tiles
    from codec.tiling.tiles import tiles_from_planes

    grid, positions = layer.grid, slice(CHECKED_POSITIONS)
    wanted = Wanted(network, layer.kind, (grid.width, grid.height), layer.known, tiles_per_group, payloads)
    for _, first, found in decoded_tiles([wanted], lambda _: progress(0), CHECKED_POSITIONS):
        last = first + len(found)
        expected = tiles_from_planes(layer.planes, grid, first, last)
        exist = present(grid.extents(first, last), np.arange(CHECKED_POSITIONS)).T  # (tiles, positions)
        differ = (found[..., positions] != expected[..., positions]) & exist[:, None]
        _require(not differ.any(), f"the tiles from {first + 1} on differ")


@contextlib.contextmanager
def _verified() -> Iterator[None]:
    """Turns what a decoder raises into a VerificationError."""
    try:
        yield
    except IgptError as error:
        msg = f"what was coded does not give back the picture ({error}): nothing was written; please report this"
        raise VerificationError(msg) from error


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise IgptError(what)
