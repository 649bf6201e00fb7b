"""Everything that igpt raises on purpose.

IgptError
├── NotIgptError            the data does not begin as an igpt file does
├── NewerVersionError       the file needs a newer igpt
├── DamagedError            a checksum or a field is wrong; the message names the chunk
│   └── TruncatedError      the file ends too early
├── ModelError              a model is missing, unusable, or not the one that the file names
├── UnsupportedImageError   the picture cannot be kept exactly, so it is not kept at all
├── TooLargeError           the picture is over the pixel limit
└── VerificationError       what was just compressed does not come back
"""


class IgptError(Exception):
    """Base of all; its text is one sentence that can be shown to a user."""


class NotIgptError(IgptError):
    pass


class NewerVersionError(IgptError):
    pass


class DamagedError(IgptError):
    pass


class TruncatedError(DamagedError):
    pass


class ModelError(IgptError):
    pass


class UnsupportedImageError(IgptError):
    pass


class TooLargeError(IgptError):
    pass


class VerificationError(IgptError):
    pass
