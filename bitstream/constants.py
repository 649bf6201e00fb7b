"""The numbers of the file format. `FORMAT.md` gives their meaning."""

MAGIC = b"\x89IGPT\r\n\x1a\n"
VERSION = ENVELOPE_VERSION = 5  # the highest that is read; a file has the lowest that can hold it
NUMERICS_VERSION = EXACT_NUMERICS = 3  # the highest that is read; of 16-bit samples whose residuals recur
DRAWING_NUMERICS = 2  # of other drawings
MODEL_NUMERICS = 1  # of the networks

FREQUENCY_BITS = 24
FREQUENCY_TOTAL = 1 << FREQUENCY_BITS
ALPHABET = 256
LEAST_COST = 366  # of a token of an alphabet of 256, or of a drawing's decision, in bits / 2^24

MODEL_DIGEST_BYTES = 8
PIXEL_DIGEST_BYTES = 16
CRC_BYTES = 4
CODER_BYTES = 3  # of a drawing's band, asked for behind its end
ENVELOPE_DIGEST_BYTES = 8
WORD_BYTES = 4

MAX_SIDE = 1 << 24
MAX_DEEP_WIDTH = 1 << 20  # with samples of 16 bits, of which a coder keeps hundreds of bytes a column
MAX_MODEL_NAME_BYTES = 64
MAX_TILES_PER_GROUP = 4096
MAX_VARINT_BYTES = 5
MAX_BAND_PIXELS = 1 << 22  # of a drawing
MAX_METADATA_BYTES = MAX_CHUNK_BYTES = 1 << 26  # of a PNG's chunks, not compressed
MAX_EXCEPTION_SHARE = 8  # at most one pixel in so many
