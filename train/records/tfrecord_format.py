"""A TFRecord's frame: `u64 length | u32 masked crc32c(length) | data | u32 masked crc32c(data)`, little endian."""

import numpy as np

HEAD, TAIL = 12, 4  # bytes
_MASK_DELTA = 0xA282EAD8


def mask_crcs(crcs: np.ndarray) -> np.ndarray:
    """TFRecord's mask of CRC-32C values, (n,) uint32 each."""
    crcs = crcs.astype(np.uint32)
    return (crcs >> np.uint32(15) | crcs << np.uint32(17)) + np.uint32(_MASK_DELTA)


def mask_crc(crc: int) -> int:
    """The mask of one value: 20 times faster than an array of one, and records of different lengths come one by one."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
