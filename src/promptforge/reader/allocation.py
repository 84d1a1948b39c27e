"""Freed memory that stays with the process, so that a picture is read into pages which are there already.

glibc gives a block of some 300 kB back to the system as soon as it is free, and the next picture is read into new
pages: the faults of those are five sixths of what an encoded picture of 512 px costs (0.22 ms, 0.035 without them).
It keeps blocks as large as the largest that was ever mapped and freed, up to 32 MiB, and twice that at the end of its
heap (mallopt(3), M_MMAP_THRESHOLD). So one large block is freed once, as any program does that frees a batch of pixels.
Where MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_ is set, and with other allocators, nothing changes.
"""

from __future__ import annotations

from functools import cache

# Just under 32 MiB with glibc's header and the rest of a page: a larger one would not count. Never touched.
_BLOCK = (32 << 20) - 8192


@cache
def keep_freed_memory() -> None:
    """Hold up to 64 MiB of freed memory for what is read next; for the whole process, and those forked from it."""
    bytes(_BLOCK)
