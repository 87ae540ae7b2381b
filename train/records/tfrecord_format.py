"""What TFRecord puts around a record: `u64 length | u32 masked crc32c(length) | data | u32 masked crc32c(data)`."""

import google_crc32c
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


def head(length: int) -> bytes:
    """Of a record of `length` bytes."""
    data = length.to_bytes(8, "little")
    return data + masked(google_crc32c.value(data)).to_bytes(4, "little")
