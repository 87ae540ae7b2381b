"""What TFRecord puts around a record: `u64 length | u32 masked crc32c(length) | data | u32 masked crc32c(data)`."""

import numpy as np

HEAD, TAIL = 12, 4  # bytes
_MASK_DELTA = 0xA282EAD8


def masked_crc32c(crc: np.ndarray) -> np.ndarray:
    """TFRecord's mask of CRC-32C values, uint32 → uint32."""
    crc = crc.astype(np.uint32)
    return (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(_MASK_DELTA)


def masked(crc: int) -> int:
    """The same for one value: a twentieth of the time, and records of differing lengths come one by one."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
