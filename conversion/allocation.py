"""What training asks of the allocator of the C library."""

from __future__ import annotations

import ctypes

# Parameters of glibc's mallopt(3), and their values in bytes, an int's largest at most.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
WANTED = {MMAP_THRESHOLD: 1 << 30, TRIM_THRESHOLD: (1 << 31) - 1, TOP_PAD: 1 << 28}


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees for what it allocates next.

    glibc gives a block of 32 MB or more back to the system at once, and the block after it is zeroed again, page by
    page. Every update makes its logits anew.

    Returns:
        Whether the C library does so; others than glibc are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; no such library; Windows
        return False
    return all(mallopt(name, value) for name, value in WANTED.items())
