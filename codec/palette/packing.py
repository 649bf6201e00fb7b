"""Pixels <-> files with a published network: first the tokens of its palette, then the exact colours inside of their cells."""

from dataclasses import replace

from bitstream.container import write_file
from bitstream.errors import DamagedError, UnsupportedImageError
from bitstream.header import PALETTE_KIND, Header
from codec.network.layers import Coded, Known, Layer, Wanted, decode_layer, encode_layer
from codec.network.model import IntegerImageGPT
from codec.palette.coding import Progress, decode_tokens, encode_tokens, group_size
from codec.palette.colours import Palette, Tokens
from codec.palette.network import PaletteImageGPT
from codec.tiling.context import SIDE
from codec.tiling.planes import Pixels, kind_of, pixels_to_planes, planes_to_pixels
from codec.tiling.tiles import Grid

SETTLING = 8  # steps


def packed(
    pixels: Pixels, pixel_digest: bytes, network: PaletteImageGPT, refinement: IntegerImageGPT, palette_only: bool, progress: Progress
) -> tuple[bytes, Coded | None]:
    """The bytes of an igpt file, and what the refinement coded of it: the colours inside of cells, if there are others than the palette's.

    palette_only: raise UnsupportedImageError in that case.
    """
    height, width, channels = pixels.shape
    palette = network.palette
    tokens = palette.tokens(pixels)
    exact = bool((painted(palette, tokens, channels) == pixels).all())
    if palette_only and not exact:
        msg = "the picture has other colours than the model's palette: `igpt quantize` makes a picture of those, with a loss"
        raise UnsupportedImageError(msg)
    header = Header(
        width=width,
        height=height,
        channels=channels,
        bit_depth=8,
        kind=PALETTE_KIND,
        tile_side=SIDE,
        tiles_per_group=group_size(network, Grid(width, height).tiles),
        model_digest=network.digest,
        model_name=network.name,
        pixel_digest=pixel_digest,
    )
    payloads = encode_tokens(network, tokens, header.tiles_per_group, progress)
    coded = None
    if not exact:
        header = replace(header, refinement_digest=refinement.digest, refinement_name=refinement.name)
        layer = Layer(kind_of(channels), pixels_to_planes(pixels), Known(tokens=tokens, palette=palette))
        payloads += encode_layer(refinement, layer, header.tiles_per_group, _ignore)
        coded = Coded(refinement, None, [layer])
    return write_file(header, payloads), coded


def unpacked(
    header: Header, payloads: list[bytes], network: PaletteImageGPT, refinement: IntegerImageGPT | None, progress: Progress
) -> Pixels:
    """The inverse of `packed`. Raises DamagedError."""
    size, group = (header.width, header.height), header.tiles_per_group
    of_tokens = len(payloads) // (2 if refinement else 1)
    tokens = decode_tokens(network, size, group, payloads[:of_tokens], progress)
    if refinement is None:
        return painted(network.palette, tokens, header.channels)
    kind = kind_of(header.channels)
    if kind not in refinement.config.kinds:
        msg = f"the header is damaged: the model {refinement.name} does not code {kind.name}"
        raise DamagedError(msg)
    known = Known(tokens=tokens, palette=network.palette)
    return planes_to_pixels(decode_layer(Wanted(refinement, kind, size, known, group, payloads[of_tokens:]), progress))


def painted(palette: Palette, tokens: Tokens, channels: int) -> Pixels:
    """(height, width) tokens -> (height, width, channels) pixels in the palette's colours."""
    pixels: Pixels = palette.colours[tokens][..., :channels]
    return pixels


def quantized(palette: Palette, pixels: Pixels) -> Pixels:
    """The (height, width, 1 or 3) pixels in the palette's colours, (height, width, 3). This is lossy."""
    now = painted(palette, palette.tokens(pixels), 3)
    for _ in range(SETTLING):  # centres are not quite colours: where two are close, one's colour may be nearer to the other
        again = painted(palette, palette.tokens(now), 3)
        if (again == now).all():
            break
        now = again
    return now


def _ignore(pixels: int) -> None:
    pass
