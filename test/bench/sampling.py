"""What the benchmarks share: processes to time, files in or out of the page cache, memory kept at hand, and medians of ratios."""

import ctypes
import mmap
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy

# Two runs of a peer that differ by more are no measure of anything between them.
MOST_DRIFT = 1.25
# Blocks taken at most, for each one that is wanted.
PATIENCE = 4


def run(command):
    """Standard output, seconds of the whole process, its peak resident bytes."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} failed with exit status {process.returncode}")
    return output, seconds, usage.ru_maxrss * 1024


def resident_fraction(path):
    """The part of a file that the page cache holds, by mincore."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    size = path.stat().st_size
    pages = -(-size // mmap.PAGESIZE)
    with open(path, "rb") as file:
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    vector = ctypes.create_string_buffer(pages)
    if libc.mincore(address, size, vector) != 0:
        raise OSError(ctypes.get_errno(), "mincore")
    libc.munmap(address, size)
    return sum(byte & 1 for byte in vector.raw[:pages]) / pages


def warm(paths):
    """Proves that the page cache holds the files, reading those that it does not."""
    for path in paths:
        # What was just written may lose pages once more as it goes to the disk.
        for _ in range(5):
            if resident_fraction(path) == 1:
                break
            with open(path, "rb", buffering=0) as file:
                while file.read(2**24):
                    pass
        else:
            sys.exit(f"{path} does not stay in the page cache; use a smaller --sizes")


def median_with_interval(values):
    generator = numpy.random.default_rng(0)
    medians = numpy.median(generator.choice(values, (10_000, len(values))), axis=1)
    low, high = numpy.percentile(medians, [2.5, 97.5])
    return statistics.median(values), float(low), float(high)


def evict(paths):
    for path in paths:
        with open(path, "rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if resident_fraction(path) > 0:
            sys.exit(f"{path} does not leave the page cache")


class MemoryAtHand:
    """Keeps the memory that samples of `need_bytes` use small, and touches it before each."""

    def __init__(self, need_bytes, probes, as_found=False):
        self.need_bytes, self.probes, self.as_found, self.holder = need_bytes + 2**29, probes, as_found, None

    def __enter__(self):
        free = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemFree")) * 1024
        spare = free - self.need_bytes - 3 * 2**30
        if not self.as_found and spare > 0:
            command = [self.probes, "hold", str(spare)]
            self.holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.holder.stdout.readline()
        return self

    def __exit__(self, *_):
        if self.holder:
            self.holder.communicate()

    def touch(self):
        if not self.as_found:
            run([self.probes, "touch", self.need_bytes])


@dataclass
class Blocks:
    ratios: list  # hfload's seconds / the peer's
    taken: int

    def row(self, label, goal):
        """A row of a Markdown table: hfload's speed as a part of the peer's."""
        found = "not measured: the peer was never steady"
        if self.ratios:
            found = "{:.2f} ({:.2f} to {:.2f})".format(*median_with_interval([1 / ratio for ratio in self.ratios]))
        return f"| {label} | {len(self.ratios)} of {self.taken} | {found} | {goal} |"


def compare(hfload_seconds, peer_seconds, wanted):
    """Runs the two until `wanted` blocks count, or PATIENCE times as many are taken; each argument returns the seconds of one run."""
    ratios, taken = [], 0
    while len(ratios) < wanted and taken < PATIENCE * wanted:
        taken += 1
        first = peer_seconds()
        ours = hfload_seconds() + hfload_seconds()
        last = peer_seconds()
        if max(first, last) <= MOST_DRIFT * min(first, last):
            ratios.append(ours / (first + last))
    return Blocks(ratios, taken)
