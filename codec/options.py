"""What a user may ask for, of the library, the command, many files at once and Pillow's plugin."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bitstream.errors import IgptError
from codec.box import Box

LARGEST_ERROR = 4096  # of a sample of 16 bits


class Level(StrEnum):
    """How much work a smaller file is worth."""

    FAST = "fast"
    DEFAULT = "default"
    BEST = "best"


class Lossy(StrEnum):
    """How near a lossy picture comes to what it was, for its bytes."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compressing and decompressing take what concerns them.

    model: instead of the default ones: the folder, name or digest of an integer model, or the folder or hub id of a published ImageGPT, of
    `revision`, which codes colours by its palette; decompressing: the folder of the model that the file names. palette_only: refuse other
    colours than the palette's. device: auto, cpu or cuda; never changes a byte. past: code what a decoded JPEG or PhotoCD was made of,
    where it is recognised. pixels: of a JPEG file code the decoded pixels, not the file. verify: decompress all of the result and compare.
    max_pixels: refuse larger pictures; None: Pillow's limit. level: a Level, by its name. box: decompressing: only these pixels; of a kept
    JPEG file all. preview: put a small lossy picture into the file, for people. max_error: compressing: how much a sample may change; 0:
    not at all. lossy: compressing: how near a picture has to come, a Lossy, by its name; empty: it stays as it is.
    Raises IgptError for another one, and for what does not go together.
    """

    model: str | Path | None = None
    revision: str | None = None
    palette_only: bool = False
    level: str = Level.DEFAULT
    preview: bool = False
    max_error: int = 0
    lossy: str = ""
    box: Box | None = None
    device: str = "auto"
    past: bool = True
    pixels: bool = False
    verify: bool = False
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        if self.level not in [*Level]:
            msg = f"level {self.level!r} is none of {', '.join(Level)}"
            raise IgptError(msg)
        if not 0 <= self.max_error <= LARGEST_ERROR:
            msg = f"a largest error is a number from 0 to {LARGEST_ERROR:,}, not {self.max_error}"
            raise IgptError(msg)
        if self.lossy not in ("", *Lossy):
            msg = f"lossy is {', '.join(Lossy)}, not {self.lossy!r}"
            raise IgptError(msg)
        if self.lossy and (self.max_error or self.palette_only or not self.past):
            msg = "lossy does not go with a largest error, a palette, or without pasts: the picture is coded as the JPEG that it becomes"
            raise IgptError(msg)

    @property
    def of_pixels(self) -> bool:
        """Whether a JPEG file's pixels are coded: a palette has to see them."""
        return self.pixels or self.palette_only
