"""stub"""


def pack(e: bytes) -> bytes:
    return e


def unpack(e: bytes) -> bytes:
    return e
