"""What the processor can compute by itself."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path('/proc/cpuinfo')
# Names of the lines that list what a processor has, on x86 and on ARM; of multiplication in bfloat16 there.
_LISTS = ('flags', 'Features')
_BFLOAT16 = frozenset({'avx512_bf16', 'amx_bf16', 'bf16'})


def has_bfloat16(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether it multiplies in bfloat16 rather than in emulation, which takes longer than float32.

    True where the system does not say, as only Linux does.
    """
    try:
        lines = cpuinfo.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        return True
    for line in lines:
        name, _, value = line.partition(':')
        if name.strip() in _LISTS:
            return not _BFLOAT16.isdisjoint(value.split())
    return True
