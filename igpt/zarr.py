"""igpt as a codec of zarr 3, "numcodecs.igpt", which is found by its name once both are installed (`pip install igpt[zarr]`); for
arrays of format 2 see `igpt.numcodecs`.

>>> zarr.create_array("x.zarr", shape=(512, 512, 3), chunks=(256, 256, 3), dtype="uint8", serializer=Igpt(), compressors=None)
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from zarr.abc.codec import ArrayBytesCodec

import codec
from codec.options import Options
from codec.pictures.reading import MAX_PIXELS

NAME = "numcodecs.igpt"  # as zarr names what numcodecs knows, too


@dataclass(frozen=True)
class Igpt(ArrayBytesCodec):
    """Chunks (height, width) or (height, width, 1 to 4) of uint8 or uint16; each becomes an igpt file.

    level: as of `igpt.compress`. Raises IgptError for another one; writing raises TypeError for other samples, UnsupportedImageError for
    other shapes, and TooLargeError.
    """

    level: str = "default"
    is_fixed_size = False

    def __post_init__(self) -> None:
        Options(level=self.level)

    @classmethod
    def from_dict(cls, data: Any) -> "Igpt":
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        return {"name": NAME, "configuration": {"level": str(self.level)}}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        raise NotImplementedError  # what zarr expects of a codec whose chunks have no fixed size

    async def _encode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        data = await asyncio.to_thread(codec.compress, chunk_data.as_numpy_array(), level=self.level, max_pixels=MAX_PIXELS)
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        samples = await asyncio.to_thread(codec.decode, chunk_data.to_bytes())
        return chunk_spec.prototype.nd_buffer.from_numpy_array(samples.reshape(chunk_spec.shape))
