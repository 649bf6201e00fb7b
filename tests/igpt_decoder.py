"""igpt as a command of `tests.conformance`: `python -m tests.igpt_decoder IN OUT`."""

import os
import sys
from pathlib import Path

from bitstream.container import read
from bitstream.errors import DamagedError, IgptError, ModelError, NewerVersionError, NotIgptError, TooLargeError, TruncatedError
from codec.decompression import decompress_file
from codec.options import Options
from codec.pictures.picture import Picture
from tests.conformance import GOLDEN, REFUSED, output

KINDS = {  # of errors, in `golden/expected.json`
    DamagedError: "damaged",
    TruncatedError: "truncated",
    NewerVersionError: "newer",
    NotIgptError: "not igpt",
    TooLargeError: "too large",
    ModelError: "model missing",
}


def written(picture: Picture) -> bytes:
    if picture.is_file:
        return picture.file
    height, width, _ = picture.pixels.shape
    samples = picture.pixels.astype(picture.pixels.dtype.newbyteorder("<")).tobytes()
    return output(*picture.form, width, height, samples, picture.chunks)


def main() -> int:
    source, target = map(Path, sys.argv[1:])
    os.environ["IGPT_MODEL_PATH"] = str(GOLDEN)
    try:
        picture = decompress_file(read(source.read_bytes()), Options(device="cpu"))
    except IgptError as error:
        print(f"{KINDS[type(error)]}: {error}", file=sys.stderr)
        return REFUSED
    target.write_bytes(written(picture))
    return 0


if __name__ == "__main__":
    sys.exit(main())
