"""The filters of PNG rows undone; apart, for compiled code takes a moment to import."""

from typing import Any

import numpy as np

from codec.jit import compiled


@compiled
def unfilter(lines: Any, step: Any, out: Any) -> None:
    """lines: rows of bytes behind the number of their filter; out: the bytes."""
    for y in range(len(lines)):
        way = lines[y, 0]
        for k in range(out.shape[1]):
            left = np.int64(out[y, k - step]) if k >= step else np.int64(0)
            up = np.int64(out[y - 1, k]) if y else np.int64(0)
            corner = np.int64(out[y - 1, k - step]) if y and k >= step else np.int64(0)
            prediction = np.int64(0)
            if way == 1:
                prediction = left
            elif way == 2:
                prediction = up
            elif way == 3:
                prediction = (left + up) >> 1
            elif way == 4:
                to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
                prediction = left if to_left <= to_up and to_left <= to_corner else up if to_up <= to_corner else corner
            out[y, k] = (np.int64(lines[y, k + 1]) + prediction) & 255
