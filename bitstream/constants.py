"""The numbers of the file format. `FORMAT.md` gives their meaning."""

MAGIC = b"\x89IGP"
CONTAINER_VERSION = 1

FREQUENCY_BITS = 24
FREQUENCY_TOTAL = 1 << FREQUENCY_BITS
ALPHABET = 256
LEAST_COST = 366  # of a token of an alphabet of 256, or of a mixed decision, in bits / 2^24

SAMPLE_DIGEST_BYTES = 8
MODEL_DIGEST_BYTES = 16
CRC_BYTES = 4
CODER_BYTES = 3  # of a mixed band, asked for behind its end
WORD_BYTES = 4

MAX_SIDE = 1 << 24
MAX_KEPT_BYTES = 1 << 28  # of a file that is kept as it is
MAX_FRONT_BYTES = (1 << 26) + (1 << 24)  # of a file, all but its chunks
MAX_DEEP_WIDTH = 1 << 20  # of deep mixing, which keeps hundreds of bytes a column
MAX_MODEL_NAME_BYTES = 64
MAX_MODELS = 4  # that code together
MAX_GROUP_TILES = 256
MAX_PALETTE_GROUP_TILES = 64
MAX_PALETTE_CACHE_BYTES = 1 << 30  # of the keys and values of a group of these
MAX_VARINT_BYTES = 5
MAX_BAND_PIXELS = 1 << 22  # of mixing
MAX_METADATA_BYTES = 1 << 26  # of a PNG's chunks, not compressed
MAX_OUTLIER_SHARE = 8  # at most one pixel in so many
