"""Everything that igpt raises on purpose.

IgptError
├── NotIgptError
├── NewerVersionError
├── DamagedError
│   └── TruncatedError
├── ModelError
├── UnsupportedImageError
├── TooLargeError
└── VerificationError
"""


class IgptError(Exception):
    """Base of all.

    >>> try:
    ...     igpt.decompress(b"no igpt file")
    ... except igpt.IgptError as error:
    ...     print(error)
    this is not an igpt file

    Its text is one sentence that can be shown to a user.
    """


class NotIgptError(IgptError):
    """The data does not begin as an igpt file does."""


class NewerVersionError(IgptError):
    """The file needs a newer igpt."""


class DamagedError(IgptError):
    """A checksum or a field is wrong; the message names the chunk."""


class TruncatedError(DamagedError):
    """The file ends too early."""


class ModelError(IgptError):
    """A model is missing, unusable, or not the one that the file names."""


class UnsupportedImageError(IgptError):
    """The picture cannot be kept exactly, so it is not kept at all."""


class TooLargeError(IgptError):
    """The picture is over the pixel limit."""


class VerificationError(IgptError):
    """What was just compressed does not come back."""
