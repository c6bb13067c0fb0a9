"""Peak resident memory of one call, from the kernel's own high-water mark (Linux).

An allocator keeps what was freed, and a second call then seems to need nothing. So while memory
is measured glibc is told to give back whatever is freed, a call is made for it to do so, and the
next one is measured. Timed calls run without that.
"""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

PROCESS = Path("/proc/self")
# Parameters of mallopt, and what they grow to by themselves in a process that works with arrays.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
USUAL = {TRIM_THRESHOLD: 64 << 20, MMAP_THRESHOLD: 32 << 20}
AT_ONCE = 64 << 10


def peak(call: Callable[[], object], warm: bool = True) -> int | None:
    """Bytes at the peak of the call beyond those before it; None where the kernel does not say.

    Args:
        call: what is measured. It is run once before, unless `warm` is false.
        warm: false for long calls, which are timed as well: the allocator is then left as it is,
            and gives back arrays of 32 MB and more anyway.
    """
    try:
        library = ctypes.CDLL(None)
        options = library.mallopt, library.malloc_trim
    except (OSError, AttributeError, TypeError):
        call()
        return None
    set_option, trim = options
    try:
        if warm:
            for option in USUAL:
                set_option(option, AT_ONCE)
            call()
        gc.collect()
        trim(0)
        before = _start()
        result = call()
        highest = _resident("VmHWM")
        del result
    finally:
        if warm:
            for option, value in USUAL.items():
                set_option(option, value)
    return None if before is None or highest is None else max(highest - before, 0)


def _start() -> int | None:
    """Set the mark anew; bytes now."""
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return None
    return _resident("VmRSS")


def _resident(field: str) -> int | None:
    """Bytes now (VmRSS), or at the highest since the mark was set (VmHWM)."""
    try:
        text = (PROCESS / "status").read_text()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return 1024 * int(fields[field].split()[0]) if field in fields else None
