"""Ways of coding: each is a module here and a line below."""

from bitstream.container import Coding
from bitstream.errors import NewerVersionError
from codec.methods.inside import DecodedJpeg
from codec.methods.jpeg import JpegFiles
from codec.methods.method import Method
from codec.methods.mixing import DeepMixing, Mixing
from codec.methods.network import Network
from codec.methods.palette import PublishedPalette
from codec.methods.past import PastMethod
from codec.methods.stored import Stored

METHODS: list[Method] = [  # in the order in which they offer
    PublishedPalette(),
    Mixing(),
    DeepMixing(),
    DecodedJpeg(),
    PastMethod(),
    Network(),
    JpegFiles(),
    Stored(),
]


def method_of(coding: Coding) -> Method:
    """Raises NewerVersionError."""
    for method in METHODS:
        if method.number == coding.method and coding.variant < method.variants:
            return method
    msg = f"the file is coded by variant {coding.variant} of method {coding.method}, which this igpt does not know: update igpt"
    raise NewerVersionError(msg)


__all__ = ["METHODS", "Method", "method_of"]
