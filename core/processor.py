"""What the processor can compute by itself, and what follows for TensorFlow's graphs."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

_CPUINFO = Path('/proc/cpuinfo')
# Names of the lines that list what a processor has.
_X86, _ARM = 'flags', 'Features'
_BFLOAT16 = frozenset({'avx512_bf16', 'amx_bf16', 'bf16'})


def has_bfloat16(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether it multiplies in bfloat16 rather than in emulation, which takes longer than float32.

    True where the system does not say, as only Linux does.
    """
    listed = _listed(cpuinfo)
    return not listed or any(not _BFLOAT16.isdisjoint(found) for found in listed.values())


def has_avx512(cpuinfo: Path = _CPUINFO) -> bool:
    """False on an x86 processor that lists what it has without AVX-512; True on all others."""
    return 'avx512f' in _listed(cpuinfo).get(_X86, frozenset({'avx512f'}))


def floats_of_a_vector(cpuinfo: Path = _CPUINFO) -> int:
    """16 on an x86 processor that lists AVX-512, else 8: blocks of so many channels are what kernels work on."""
    return 16 if 'avx512f' in _listed(cpuinfo).get(_X86, frozenset()) else 8


def avoid_slow_fusions() -> None:
    """Keeps batch norm out of TensorFlow's fused convolutions where oneDNN is slow at them.

    To be called before a graph with batch norm of its own runs for inference. With AVX2 (convolution `gemm:jit` with
    four operations behind it) a SavedModel took many times as long; with AVX-512 the fused form is the fast one.
    """
    if not has_avx512():
        tf.config.optimizer.set_experimental_options({'remapping': False})


def _listed(cpuinfo: Path) -> dict[str, frozenset[str]]:
    """Name of the line -> features of the first processor that has one."""
    try:
        lines = cpuinfo.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        return {}
    found: dict[str, frozenset[str]] = {}
    for line in lines:
        name, _, value = line.partition(':')
        if name.strip() in (_X86, _ARM):
            found.setdefault(name.strip(), frozenset(value.split()))
    return found
