"""Metadata <-> bytes: the chunks that a PNG file of the picture has between IHDR and IEND, deflated with a dictionary of common ones.

`FORMAT.md` gives the fields, `FORMAT-dictionary.md` the dictionary.
"""

import struct
from collections.abc import Iterator

from bitstream.constants import MAX_METADATA_BYTES
from bitstream.container import require
from bitstream.deflate import packed, unpacked
from bitstream.errors import DamagedError, UnsupportedImageError
from bitstream.form import PALETTE
from bitstream.reader import Reader, varint

Chunks = tuple[tuple[bytes, bytes], ...]  # names and bodies
NAME_BYTES = 4
MOST_CHUNKS = 1 << 16
LARGEST_PALETTE = 768  # bytes


def pack(chunks: Chunks, colour: int) -> bytes:
    """colour: the picture's colour type. Raises UnsupportedImageError where chunks are too large, too many or out of place."""
    raw = _joined(chunks)
    if len(raw) > MAX_METADATA_BYTES:
        msg = f"its metadata have {len(raw):,} bytes, more than the limit of {MAX_METADATA_BYTES:,}: leave them out with --strip"
        raise UnsupportedImageError(msg)
    try:
        _chunks(raw, colour)
    except DamagedError as error:
        msg = f"its chunks cannot be kept: {str(error).partition(': ')[2]}; --strip leaves most of them out"
        raise UnsupportedImageError(msg) from error
    return varint(len(raw)) + packed(raw, DICTIONARY)


def unpack(body: bytes, colour: int) -> Chunks:
    """colour: the picture's colour type. Raises DamagedError."""
    reader = Reader(body, "the metadata")
    size = reader.varint()
    require(1 <= size <= MAX_METADATA_BYTES, f"its metadata cannot have {size} bytes")
    return _chunks(unpacked(reader.take(reader.remaining), size, DICTIONARY), colour)


def _joined(chunks: Chunks) -> bytes:
    return b"".join(name + varint(len(body)) + body for name, body in chunks)


def _chunks(raw: bytes, colour: int) -> Chunks:
    reader, chunks = Reader(raw, "the metadata"), list[tuple[bytes, bytes]]()
    while reader.remaining:
        name = reader.take(NAME_BYTES)
        require(name.isalpha() and name not in (b"IHDR", b"IEND"), f"a chunk {name!r} has no place here")
        chunks.append((name, reader.take(reader.varint())))
        require(len(chunks) <= MOST_CHUNKS, "its metadata are too many")
    names = [name for name, _ in chunks]
    pixels = [body for name, body in chunks if name == b"IDAT"]
    require(pixels in ([], [b""]), "its pixels are in the wrong place")
    sizes = [len(body) for name, body in chunks if name == b"PLTE"]
    require(len(sizes) <= 1, "it has two palettes")
    if colour == PALETTE:
        require(not any(sizes), "its palette is in the wrong place")
        require(not (sizes and pixels) or names.index(b"PLTE") < names.index(b"IDAT"), "its palette is in the wrong place")
    else:
        require(all(0 < size <= LARGEST_PALETTE and size % 3 == 0 for size in sizes), "its palette has a wrong size")
    return tuple(chunks)


# The dictionary is a constant of the format: whatever comes first in it costs a little more to refer to than what comes last.


def _exif(order: str) -> Iterator[bytes]:
    """Entries of a TIFF directory as cameras write them; order: "<" or ">". A value that is not known before is left out."""
    for tag, kind, count, value in EXIF:
        yield struct.pack(order + "HHI", tag, kind, count)
        yield b"" if value is None else value if isinstance(value, bytes) else struct.pack(order + {3: "HH", 4: "I"}[kind], *value)


EXIF: tuple[tuple[int, int, int, bytes | tuple[int, ...] | None], ...] = (
    (0xA403, 3, 1, (0, 0)),  # WhiteBalance
    (0x8827, 3, 1, (100, 0)),  # ISOSpeedRatings
    (0x829D, 5, 1, None),  # FNumber
    (0x829A, 5, 1, None),  # ExposureTime
    (0x927C, 7, 8, None),  # MakerNote
    (0x9209, 3, 1, (16, 0)),  # Flash
    (0x9004, 2, 20, None),  # DateTimeDigitized
    (0x9003, 2, 20, None),  # DateTimeOriginal
    (0x9000, 7, 4, b"0221"),  # ExifVersion
    (0xA000, 7, 4, b"0100"),  # FlashpixVersion
    (0xA001, 3, 1, (1, 0)),  # ColorSpace
    (0xA002, 4, 1, (0,)),  # PixelXDimension
    (0xA003, 4, 1, (0,)),  # PixelYDimension
    (0x8825, 4, 1, None),  # GPS
    (0x8769, 4, 1, None),  # Exif
    (0x010F, 2, 6, None),  # Make
    (0x0110, 2, 6, None),  # Model
    (0x0112, 3, 1, (1, 0)),  # Orientation
    (0x011A, 5, 1, None),  # XResolution
    (0x011B, 5, 1, None),  # YResolution
    (0x0128, 3, 1, (2, 0)),  # ResolutionUnit
    (0x0131, 2, 6, None),  # Software
    (0x0132, 2, 20, None),  # DateTime
)
XMP = b"""\
http://ns.adobe.com/tiff/1.0/http://ns.adobe.com/exif/1.0/http://ns.adobe.com/photoshop/1.0/" photoshop:ColorMode="3"\
 photoshop:ICCProfile="sRGB IEC61966-2.1" tiff:Orientation="1" tiff:XResolution="720000/10000"\
 exif:ColorSpace="1" exif:PixelXDimension="" exif:PixelYDimension="\
<tiff:Orientation>1</tiff:Orientation>
 xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/jpeg" dc:format="image/png"<dc:creator><dc:title><rdf:Alt>\
<rdf:li xml:lang="x-default"></rdf:li></rdf:Alt></dc:title><rdf:Bag></rdf:Bag>
 xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:stRef="http://ns.adobe.com/xap/1.0/sType/ResourceRef#"\
 xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"<xmpMM:History><rdf:Seq><rdf:li rdf:parseType="Resource"\
 stEvt:action="created" stEvt:action="saved" stEvt:instanceID="xmp.iid:" stEvt:when="" stEvt:softwareAgent="Adobe Photoshop CC (Windows)"\
 stEvt:changed="/"/></rdf:Seq></xmpMM:History><xmpMM:DerivedFrom stRef:instanceID="xmp.iid:" stRef:documentID="xmp.did:"/>\
 xmpMM:DocumentID="xmp.did:" xmpMM:InstanceID="xmp.iid:" xmpMM:OriginalDocumentID="xmp.did:"\
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Adobe Photoshop CS6 (Macintosh)" xmp:CreateDate="2" xmp:ModifyDate="2"\
 xmp:MetadataDate="2"/></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>\
 </rdf:Description> </rdf:RDF> </x:xmpmeta>
      </rdf:Description>
   </rdf:RDF>
</x:xmpmeta>
                                                                                                    
<?xpacket end="w"?>XML:com.adobe.xmp\0\0\0\0\0<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 5.6-c140 XMP Core 5.4.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:"""
TEXTS = (
    b"Raw profile type exif\0",
    b"Creation Time\0",
    b"Disclaimer\0",
    b"Warning\0",
    b"source\0",
    b"Source\0https://",
    b"License\0http://creativecommons.org/licenses/by-sa/4.0/",
    b"Copyright\0Copyright (c) 20",
    b"Description\0",
    b"parameters\0",
    b"Title\0",
    b"Author\0",
    b"Software\0Adobe ImageReady",
    b"Software\0gnome-screenshot",
    b"Software\0Matplotlib version3.10.0, https://matplotlib.org/",
    b"Software\0www.inkscape.org",
    b"Software\0paint.net 4.0.12",
    b"Software\0Adobe Fireworks CS6",
    b"comment\0",
    b"Comment\0Created with The GIMP",
    b"Comment\0Created with GIMP",
    b"date:timestamp\x002024-01-01T00:00:00+00:00",
    b"date:modify\x002022-01-01T00:00:00+00:00",
    b"date:create\x002023-01-01T00:00:00+00:00",
)
DPIS = (600, 180, 150, 200, 100, 240, 90, 144, 300, 96, 72)
COMMON: Chunks = (
    (b"hIST", b""),
    (b"sPLT", b""),
    (b"cICP", b"\x01\x0d\0\1"),
    (b"iCCP", b"Photoshop ICC profile\0\0x\xda\x9dSgTS\xe9\x16="),
    (b"iCCP", b"ICC Profile\0\0H\x89"),
    (b"iCCP", b"ICC profile\0\0x\x9c}\x91=H\xc3"),
    (b"iCCP", b"ICC profile\0\0x\xda"),
    (b"oFFs", bytes(9)),
    (b"vpAg", bytes(9)),
    *((b"tEXt", text) for text in TEXTS),
    (b"tIME", b"\x07\xe6\1\1"),
    (b"tIME", b"\x07\xe8\1\1"),
    *((b"pHYs", struct.pack(">IIB", dpi, dpi, 0)) for dpi in (300, 96, 72, 1)),
    *((b"pHYs", struct.pack(">IIB", dots, dots, 1)) for dots in (3779, 3780, 11810, 2834, *(round(dpi / 0.0254) for dpi in DPIS))),
    (b"gAMA", struct.pack(">I", 100000)),
    (b"cHRM", struct.pack(">8I", 31269, 32899, 63999, 33001, 30000, 60000, 15000, 5999)),
    (b"sRGB", b"\0"),
    (b"gAMA", struct.pack(">I", 45455)),
    (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
    (b"bKGD", bytes(6)),
    (b"bKGD", b"\0\xff" * 3),
    (b"bKGD", b"\0\xff"),
    (b"bKGD", b"\0"),
    (b"PLTE", b""),
    (b"tRNS", bytes(6)),
    (b"tRNS", bytes(2)),
    (b"tRNS", b"\0"),
    (b"IDAT", b""),
    (b"sBIT", b"\4\4\4"),
    (b"sBIT", b"\5\6\5"),
    (b"sBIT", b"\x08\x08"),
    (b"sBIT", b"\x08\x08\x08\x08"),
)
DICTIONARY = b"".join(
    (
        *_exif("<"),
        *_exif(">"),
        b"NIKON CORPORATION\0Apple\0iPhone 12 Pro\0samsung\0SONY\0Canon\0Canon EOS \0",
        b"Adobe Photoshop CS6 (Windows)\x002018:01:01 12:00:00\0",
        XMP,
        b"iTXt",
        b"eXIfII*\0\x08\0\0\0\x0c\0",
        b"eXIfMM\0*\0\0\0\x08\0\x07",
        _joined(COMMON),
    )
)
