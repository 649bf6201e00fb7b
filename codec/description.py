"""What the beginning of an igpt file says; neither the chunks nor a model are touched."""

from dataclasses import dataclass
from typing import NamedTuple

from bitstream.constants import CONTAINER_VERSION
from bitstream.container import COLOURS, LEVELS, PREVIEW, File, Front
from codec.decompression import chunks_of, understood
from codec.models import shipped_name
from codec.options import Options
from codec.pictures.marks import lossy
from codec.pictures.near import max_error


class Model(NamedTuple):
    """name: empty where nobody here knows it; digest: of the weights, hexadecimal."""

    name: str
    digest: str


@dataclass(frozen=True)
class Info:
    """What `info` gives.

    * width, height: in pixels.
    * mode: Pillow's name for such samples.
    * channels, bit_depth: of the picture.
    * coding: how its pixels are coded, for people; of colour and alpha, where these are apart.
    * representation: what is coded: samples, ranks among their values, or a palette's colours.
    * chunks: what can be decoded by itself.
    * models: that the file names: name, empty where nobody here knows it, and digest, hexadecimal.
    * metadata: names of the PNG chunks that it keeps.
    * left_alone: parts that a newer igpt may understand.
    * level: at which it was made; empty where nobody can tell, or all levels do the same.
    * max_error: how far a sample may be from what it was before compression, as the metadata say; 0: they say nothing.
    * lossy: how near it came to what it was, low, medium or high, as the metadata say; empty: they say nothing.
    * preview_bytes: of its preview; 0 where it has none.
    * digest: the first 16 hexadecimal digits of SHA-256 of the samples, so hashlib.sha256(igpt.decode(data)).hexdigest()[:16].
    * container_version: of the file's format.
    * front_bytes: what of the file is not chunks.
    """

    width: int
    height: int
    mode: str
    channels: int
    bit_depth: int
    coding: str
    representation: str
    chunks: int
    models: tuple[Model, ...]
    metadata: tuple[str, ...]
    left_alone: tuple[str, ...]
    level: str
    max_error: int
    lossy: str
    preview_bytes: int
    digest: str
    container_version: int
    front_bytes: int


def info_of(file: Front | File) -> Info:
    """Raises DamagedError, NewerVersionError."""
    front = file.front if isinstance(file, File) else file
    head, (is_meant, parts) = front.head, understood(front)
    chunks = sum(chunks_of(parts, front.lengths(), front.chunks))
    named = [model for method, part in parts for model in method.models(part)]
    return Info(
        width=head.width,
        height=head.height,
        mode=head.form.mode,
        channels=head.form.channels,
        bit_depth=head.form.depth,
        coding="; alpha: ".join(method.description(part) for method, part in parts),
        representation="colours" if COLOURS in front.boxes else "ranks" if LEVELS in front.boxes else "samples",
        chunks=chunks,
        models=tuple(Model(found.name or shipped_name(found.digest), found.digest.hex()) for found in named),
        metadata=tuple(name.decode() for name, _ in is_meant.chunks if name != b"IDAT"),
        left_alone=tuple(front.unknown),
        level=", ".join(dict.fromkeys(filter(None, (method.level(part) for method, part in parts)))),
        max_error=max_error(is_meant.chunks),
        lossy=next(iter(lossy(is_meant.chunks)), ""),
        preview_bytes=len(front.boxes.get(PREVIEW, b"")),
        digest=head.digest.hex(),
        container_version=CONTAINER_VERSION,
        front_bytes=front.size,
    )


def engines_of(file: Front | File, options: Options) -> str | None:
    """The names of what runs a file's networks; None where it has none. Raises ModelError."""
    front = file.front if isinstance(file, File) else file
    names = [method.engine(part, options) for method, part in understood(front)[1]]
    return ", ".join(dict.fromkeys(name for name in names if name)) or None
