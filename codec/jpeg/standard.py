"""Quantisation tables that most encoders use (ITU-T T.81, annex K), in zigzag order, and how a quality scales them (libjpeg, jcparam.c)."""

LUMA_STEPS = (
    *(16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51),
    *(56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101),
    *(103, 99),
)
CHROMA_STEPS = (17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, *[99] * 50)


def scaled_steps(table: tuple[int, ...], quality: int, half: int = 50) -> list[int]:
    """The 64 steps of one of the tables for a quality of 1 to 100; half: of what they are divided by, 0 to leave out the rounding."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return [min(max((step * scale + half) // 100, 1), 255) for step in table]
