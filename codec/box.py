"""A part of a picture."""

from typing import NamedTuple

from bitstream.errors import IgptError


class Box(NamedTuple):
    """Columns left to right - 1 and rows top to bottom - 1, in pixels, or samples of a plane."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def meets(self, other: "Box") -> bool:
        """Whether they have pixels in common."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def grown(self, by: int, width: int, height: int) -> "Box":
        """With so many pixels more at each side, as far as a picture of this size has them."""
        return Box(max(0, self.left - by), max(0, self.top - by), min(width, self.right + by), min(height, self.bottom + by))

    def require_in(self, width: int, height: int) -> None:
        """Raises IgptError where it has no pixels, or some that a picture of this size has not."""
        if not (0 <= self.left < self.right <= width and 0 <= self.top < self.bottom <= height):
            msg = f"there are no {self.width}x{self.height} pixels at {self.left},{self.top} in a picture of {width}x{height}"
            raise IgptError(msg)


def whole(width: int, height: int) -> Box:
    """Of a picture of this size."""
    return Box(0, 0, width, height)
