"""Sizes rounded up to few values.

On a CPU oneDNN compiles a kernel for every new shape of a bfloat16 product: 3 to 9 ms for the products of a layer, 0.4
ms for one of attention (2 cores; such a product itself takes 2 to 4 ms, or 0.1). Batches of text hardly ever have the
same number of tokens twice, so a quarter of a training step would be spent on compiling. Some padding costs less.
"""

from __future__ import annotations


def round_up(size: int, steps: int) -> int:
    """The next of `steps` evenly spaced sizes between the powers of two around `size`; small sizes stay as they are.

    Args:
        size: At least 0.
        steps: A power of two. Between 2^k and 2^(k+1) there are so many values; at most 1 / steps is added.
    """
    step = max(1, (1 << max(0, size.bit_length() - 1)) // steps)
    return -(-size // step) * step
