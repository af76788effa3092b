"""Keep freed activation buffers in the process (glibc).

By default glibc maps every block over 32 MB afresh and gives it back on free: 600 000 page faults in one training
step at 360x480, half of its time. See docs/performance.md for the measured ratios.
"""

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4


def keep_memory() -> bool:
    """Tell glibc to reuse freed memory; False (and no harm) where the C library has no mallopt."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {M_MMAP_THRESHOLD: 1 << 30, M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 64 << 20}
    return sum(mallopt(option, value) for option, value in settings.items()) == len(settings)
