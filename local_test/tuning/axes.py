"""Axes of a report's charts: from a round value to a round one, with a tick at each multiple of 1, 2 or 5 × 10ⁿ."""

import math


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values from low to high, about `count` of them; low alone if there is nothing between."""
    if not high > low:
        return [float(low)]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((1, 2, 5, 10), key=lambda one: abs(math.log(one * power / rough))) * power  # whichever is nearest
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def round_out(low: float, high: float) -> tuple[float, float]:
    """The round values around low and high; they are two even if those are one."""
    if not high > low:
        room = abs(low) * 0.1 or 0.5
        low, high = low - room, high + room
    inner = ticks(low, high)
    step = inner[1] - inner[0] if len(inner) > 1 else high - low
    start, end = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return float(f"{start:.12g}"), float(f"{end:.12g}")


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from low to high, with 2 and 5 times them where there are few; both are above 0."""
    powers = range(math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9) + 1)
    factors = (1,) if len(powers) > 3 else (1, 2, 5)
    values = [float(f"{factor * 10.0**power:.12g}") for power in powers for factor in factors]
    return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def format_tick(value: float) -> str:
    """At most five significant digits: `0.2`, `1500`, `2e-05`."""
    return f"{value:.5g}"
