"""On what it was measured."""

import datetime
import os
import platform
from pathlib import Path

from benchmarks.harness.case import LIBRARIES, version_of

NEEDED = ("jax", "jaxlib")


def machine() -> dict:
    """Processor, cores, memory and system."""
    return {
        "processor": _processor(),
        "cores": _cores(),
        "memory_gb": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of every library that is installed."""
    found = {name: version_of(name) for name in (*LIBRARIES, *NEEDED) if name not in SYNONYMS}
    return {name: version for name, version in found.items() if version}


SYNONYMS = ("jax.numpy", "jax.scipy")


def today() -> str:
    """The day, as in 2026-01-31."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def load() -> float | None:
    """How many processes wanted to run over the last minute."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def in_words(found: dict) -> str:
    """One line."""
    memory = f", {found['memory_gb']} GB" if found["memory_gb"] else ""
    cores = f"{found['cores']} core" + "s" * (found["cores"] != 1)
    return f"{found['processor']}, {cores}{memory}, {found['system']}, Python {found['python']}"


def _processor() -> str:
    """The model, with the name of its vector instructions: a virtual machine may hide the rest."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    fields = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    model = fields.get("model name") or platform.machine()
    flags = fields.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "")
    return f"{model} ({widest})" if widest else model


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    except (ValueError, OSError, AttributeError):
        return None
