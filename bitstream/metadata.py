"""The metadata of a picture: the chunks that a PNG file of it has between IHDR and IEND."""

Chunks = tuple[tuple[bytes, bytes], ...]  # names and bodies
NAME_BYTES = 4
MOST_CHUNKS = 1 << 16
