"""What plain torch is slow at on a GPU, as kernels of numba.cuda: the same integers. numba's simulator runs them without one."""

import numba
from numba import cuda

from codec.tiling.context import POSITIONS

THREADS = 96  # of a block


@cuda.jit
def attend(qkv, keys, values, position, exponentials, multiplier, shift, out):
    """`arithmetic.attend` for a position of many tiles, a block for each tile and head. It reads bytes, of which torch must make float64.

    qkv: (tiles, 3 * n_embd) int8; keys, values: (tiles, heads, window, dim) int8, rings that hold the position too; position: (1) int64;
    exponentials: int32, ending in zero; out: (tiles, n_embd) int8.
    """
    tile, head, thread, threads = cuda.blockIdx.x, cuda.blockIdx.y, cuda.threadIdx.x, cuda.blockDim.x
    weights = cuda.shared.array(POSITIONS, numba.int32)  # first the scores
    dim, last = keys.shape[3], exponentials.shape[0] - 1
    column, count = head * dim, position[0] + 1
    if count > keys.shape[2]:
        count = keys.shape[2]
    for k in range(thread, count, threads):
        score = 0
        for d in range(dim):
            score += int(qkv[tile, column + d]) * int(keys[tile, head, k, d])
        weights[k] = score
    cuda.syncthreads()
    largest = weights[0]
    for k in range(1, count):
        if weights[k] > largest:
            largest = weights[k]
    cuda.syncthreads()
    for k in range(thread, count, threads):
        steps = (int(largest) - int(weights[k])) * multiplier >> shift
        weights[k] = exponentials[steps if steps < last else last]
    cuda.syncthreads()
    total = 0
    for k in range(count):
        total += int(weights[k])
    for d in range(thread, dim, threads):
        mean = 0
        for k in range(count):
            mean += int(weights[k]) * int(values[tile, head, k, d])
        out[tile, column + d] = (2 * mean + total) // (2 * total)
