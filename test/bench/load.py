"""Times `hfload load --device-map cpu` beside Python packages and beside what the machine can do at best.

    python3 -m venv ../bench-venv && ../bench-venv/bin/pip install -r test/bench/requirements.txt
    cmake --preset release && cmake --build --preset release --target hfload hfload_probes hfload_engine
    ../bench-venv/bin/python test/bench/load.py --work /some/disk/with/10GB

Every sample is a process of its own, on files proved to be in the page cache; the contenders take turns in random order,
and what counts is the median over rounds of the ratio within a round, with its bootstrap 95 % confidence interval.
A virtual machine may have to ask its host for memory that has been free for some seconds, at a small part of the speed of
what is measured. So another process holds most of the free memory all the while, and before each sample one touches what is
left and ends (--as-found leaves that out). Besides: 120,000 small tensors beside one large one, files that are not in the page cache (--cold), and
headers and mappings in a process that lives long. Prints Markdown.
"""

import argparse
import ctypes
import json
import mmap
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROBES = {
    "pread_fresh_huge_pages": "pread into fresh huge pages (what a load must do)",
    "pread_touched": "pread into memory in use",
    "pread_ring": "pread into a 4 MiB buffer for each thread",
    "memcpy": "memcpy",
    "scan_memory": "scan of memory",
    "scan_mmap": "mapping the file and its first scan",
}
RIVALS = {"numpy": "safetensors, numpy (copies)", "torch": "safetensors, torch (load_file + clone)",
          "fastsafetensors": "fastsafetensors (nogds, cpu)", "runai": "Run:ai model streamer"}
SMALL_KIB = 12
# Ends in another dtype, so that its bytes are compared with nobody's.
CONVERTING = {"hfload_to_float32": "**hfload** --dtype float32", "to_float32": "safetensors, torch (load_file, .to(float32))"}


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
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(2**24):
                pass
        if resident_fraction(path) < 1:
            sys.exit(f"{path} does not stay in the page cache; use a smaller --sizes")


def median_with_interval(values):
    generator = numpy.random.default_rng(0)
    medians = numpy.median(generator.choice(values, (10_000, len(values))), axis=1)
    low, high = numpy.percentile(medians, [2.5, 97.5])
    return statistics.median(values), float(low), float(high)


def hfload_load(directory, arguments):
    return [arguments.hfload, "load", directory, "--device-map", "cpu", "--json", "--quiet", "--threads", arguments.threads]


class MemoryAtHand:
    """Keeps the memory that samples of `need_bytes` use small, and touches it before each."""

    def __init__(self, need_bytes, arguments):
        self.need_bytes, self.arguments, self.holder = need_bytes + 2**29, arguments, None

    def __enter__(self):
        free = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemFree")) * 1024
        spare = free - self.need_bytes - 2**30
        if not self.arguments.as_found and spare > 0:
            command = [self.arguments.probes, "hold", str(spare)]
            self.holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.holder.stdout.readline()
        return self

    def __exit__(self, *_):
        if self.holder:
            self.holder.communicate()

    def touch(self):
        if not self.arguments.as_found:
            run([self.arguments.probes, "touch", self.need_bytes])


def measure(directory, arguments):
    """Per contender a list over rounds of (seconds of the load, seconds of the process, peak bytes), and of probes."""
    paths = sorted(directory.glob("*.safetensors"))
    largest = max(paths, key=lambda path: path.stat().st_size)
    model_bytes = sum(path.stat().st_size for path in paths)
    hfload = hfload_load(directory, arguments)
    samples = {"hfload": [], **{rival: [] for rival in RIVALS}, **{way: [] for way in CONVERTING}}
    probes = []

    def take(contender):
        memory.touch()
        if contender == "probes":
            output, _, _ = run([arguments.probes, "load", largest, arguments.threads])
            probe = json.loads(output)
            probes.append({name: probe["bytes"] / probe[name] for name in [*PROBES, "widen"]})
            return
        if contender.startswith("hfload"):
            command = [*hfload, "--dtype", "float32"] if contender in CONVERTING else hfload
        else:
            command = [sys.executable, HERE / "rivals.py", contender, directory]
        output, seconds, peak = run(command)
        result = json.loads(output)
        samples[contender].append((result["seconds"], seconds, peak))

    warm(paths)
    run([*hfload, "--verify"])
    sums = {json.loads(run([sys.executable, HERE / "rivals.py", rival, directory, "--checksum"])[0])["checksum"] for rival in RIVALS}
    if len(sums) != 1:
        sys.exit("the rivals read different bytes")
    # What converts needs twice the bytes, and the mapped file's pages besides are no fresh memory.
    with MemoryAtHand(2 * model_bytes, arguments) as memory:
        for _ in range(arguments.rounds):
            warm(paths)
            order = ["probes", *samples]
            random.shuffle(order)
            for contender in order:
                take(contender)
    return samples, probes


def rate(model_bytes, seconds):
    return f"{model_bytes / seconds / 1e9:.2f}"


def report(name, model_bytes, samples, probes):
    print(f"\n### {name}\n")
    print("| loader | load: median GB/s | best | time, ratio to hfload (95 % CI) | whole process, ratio (95 % CI) | peak RSS above the weights |")
    print("|---|---|---|---|---|---|")
    labels = {"hfload": "**hfload**", **RIVALS, **CONVERTING}
    for contender, label in labels.items():
        loads = [sample[0] for sample in samples[contender]]
        base = "hfload_to_float32" if contender in CONVERTING else "hfload"
        cells = []
        for column in (0, 1):
            ratios = [theirs[column] / ours[column] for theirs, ours in zip(samples[contender], samples[base])]
            median, low, high = median_with_interval(ratios)
            cells.append("1" if contender == base else f"{median:.2f} ({low:.2f} to {high:.2f})")
        peak = max(sample[2] for sample in samples[contender]) - model_bytes * (2 if contender in CONVERTING else 1)
        print(f"| {label} | {rate(model_bytes, statistics.median(loads))} | {rate(model_bytes, min(loads))} "
              f"| {cells[0]} | {cells[1]} | {peak / 2**20:.0f} MiB |")
    ratios = [ours[0] / (model_bytes / row["widen"]) for ours, row in zip(samples["hfload_to_float32"], probes)]
    median, low, high = median_with_interval(ratios)
    print(f"\nConverting to float32 takes {median:.2f} ({low:.2f} to {high:.2f}) times as long as a probe that reads the same bytes and "
          "writes twice as many into fresh huge pages.")
    print("\n| probe, all threads | median GB/s | best | max/min | hfload's rate as a part of it (95 % CI) |")
    print("|---|---|---|---|---|")
    for probe, label in PROBES.items():
        rates = [row[probe] for row in probes]
        ratios = [model_bytes / ours[0] / row[probe] for ours, row in zip(samples["hfload"], probes)]
        median, low, high = median_with_interval(ratios)
        print(f"| {label} | {statistics.median(rates) / 1e9:.2f} | {max(rates) / 1e9:.2f} | {max(rates) / min(rates):.2f} "
              f"| {median:.2f} ({low:.2f} to {high:.2f}) |")
    noise = max(row["pread_fresh_huge_pages"] for row in probes) / min(row["pread_fresh_huge_pages"] for row in probes)
    if noise > 1.25:
        print(f"\nThe machine was not quiet: the first probe's rate varied by a factor of {noise:.2f}.")


def many_and_one(directories, arguments):
    """The rate of many small tensors as a part of that of one large tensor of as many bytes."""
    ratios, rates = [], {name: [] for name in directories}
    paths = {name: list(directory.glob("*.safetensors")) for name, directory in directories.items()}
    model_bytes = {name: sum(path.stat().st_size for path in paths[name]) for name in directories}
    for name in directories:
        warm(paths[name])
    with MemoryAtHand(max(model_bytes.values()), arguments) as memory:
        for _ in range(arguments.rounds):
            for name in random.sample(list(directories), len(directories)):
                warm(paths[name])
                memory.touch()
                rates[name].append(model_bytes[name] / json.loads(run(hfload_load(directories[name], arguments))[0])["seconds"])
            ratios.append(rates["many"][-1] / rates["one"][-1])
    median, low, high = median_with_interval(ratios)
    print(f"\n### {arguments.many:,} tensors of {SMALL_KIB} KiB beside one tensor of as many bytes\n")
    print(f"hfload: {statistics.median(rates['many']) / 1e9:.2f} GB/s and {statistics.median(rates['one']) / 1e9:.2f} GB/s; "
          f"ratio {median:.2f} ({low:.2f} to {high:.2f}).")


def header_and_map(name, path, arguments):
    warm([path])
    rows = []
    for _ in range(arguments.rounds):
        warm([path])
        row = json.loads(run([arguments.engine, "header", path, 31])[0])
        row["rival"] = json.loads(run([sys.executable, HERE / "rivals.py", "header", path])[0])["seconds"]
        row |= json.loads(run([arguments.engine, "map", path, arguments.threads])[0])
        row["scan_mmap"] = json.loads(run([arguments.probes, "load", path, arguments.threads])[0])["scan_mmap"]
        rows.append(row)

    def ratio(over, under):
        return "{:.2f} ({:.2f} to {:.2f})".format(*median_with_interval([row[over] / row[under] for row in rows]))

    print(f"\n### Header and mapping: {name}\n")
    print(f"Header opened, parsed, checked and indexed in {statistics.median(row['header'] for row in rows) * 1e3:.3f} ms; `safe_open` and its "
          f"keys take {ratio('rival', 'header')} times as long; reading and scanning the header's bytes alone is {ratio('header_scan', 'header')} of it. "
          f"Mapping takes {statistics.median(row['map'] for row in rows) * 1e3:.3f} ms; mapping and reading all is {ratio('scan_mmap', 'map_and_scan')} of "
          "the speed of the raw probe.")


def cold(name, directory, arguments):
    paths = sorted(directory.glob("*.safetensors"))
    largest = max(paths, key=lambda path: path.stat().st_size)
    model_bytes = sum(path.stat().st_size for path in paths)
    ours, probes, ways = [], {}, set()
    with MemoryAtHand(2 * model_bytes, arguments) as memory:
        for _ in range(arguments.rounds):
            evict(paths)
            memory.touch()
            result = json.loads(run(hfload_load(directory, arguments))[0])
            ours.append(model_bytes / result["seconds"])
            ways |= {key.removesuffix("_bytes") for key in ("cached_bytes", "buffered_bytes", "direct_bytes") if result["io"][key]}
            for threads in (2, 8):
                for chunk in (1, 4):
                    row = json.loads(run([arguments.probes, "cold", largest, threads, chunk])[0])
                    for way in ("buffered", "direct"):
                        probes.setdefault((way, threads, chunk), []).append(row["bytes"] / row[way])
    print(f"\n### Not in the page cache: {name}\n")
    print(f"hfload read by: {', '.join(sorted(ways))}.\n")
    print("| | median GB/s | best | max/min | hfload's rate as a part of it (95 % CI) |\n|---|---|---|---|---|")
    print(f"| **hfload** | {statistics.median(ours) / 1e9:.2f} | {max(ours) / 1e9:.2f} | {max(ours) / min(ours):.2f} | 1 |")
    for (way, threads, chunk), rates in probes.items():
        median, low, high = median_with_interval([a / b for a, b in zip(ours, rates)])
        print(f"| {way}, {threads} threads, {chunk} MiB | {statistics.median(rates) / 1e9:.2f} | {max(rates) / 1e9:.2f} | {max(rates) / min(rates):.2f} "
              f"| {median:.2f} ({low:.2f} to {high:.2f}) |")


def evict(paths):
    for path in paths:
        with open(path, "rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if resident_fraction(path) > 0:
            sys.exit(f"{path} does not leave the page cache")


def describe_machine(arguments):
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal")) * 1024
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", arguments.work], capture_output=True, text=True).stdout.strip()
    version = subprocess.run([arguments.hfload, "--version"], capture_output=True, text=True).stdout.strip()
    from importlib.metadata import version as installed

    packages = ", ".join(f"{name} {installed(name)}" for name in ("safetensors", "fastsafetensors", "runai-model-streamer", "torch", "numpy"))
    return (f"{cpu}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB, Linux {platform.release()}, {filesystem}; load average "
            f"{os.getloadavg()[0]:.1f} at the start. {version}, {arguments.threads} threads; {packages}. {arguments.rounds} rounds.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hfload", type=Path, default=ROOT / "build/release/hfload")
    parser.add_argument("--probes", type=Path, default=ROOT / "build/release/test/bench/hfload_probes")
    parser.add_argument("--work", type=Path, required=True, help="a directory for the generated checkpoints, on the disk to test")
    parser.add_argument("--sizes", default="1,4", help="GiB of the Llama-shaped checkpoints (default: 1,4)")
    parser.add_argument("--small-tensors", type=int, default=20_000, help="tensors of the third checkpoint, of 50 KiB each; 0: none")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--engine", type=Path, default=ROOT / "build/release/test/bench/hfload_engine")
    parser.add_argument("--many", type=int, default=120_000, help="tensors to load beside one large tensor; 0: none")
    parser.add_argument("--cold", action="store_true", help="also load the first checkpoint from the disk")
    parser.add_argument("--as-found", action="store_true", help="do not touch memory before each sample")
    parser.add_argument("--keep", action="store_true", help="leave the generated checkpoints there")
    arguments = parser.parse_args()

    arguments.work.mkdir(parents=True, exist_ok=True)
    for program in (arguments.hfload, arguments.probes, arguments.engine):
        if not program.exists():
            sys.exit(f"{program} does not exist; build it first (see --help)")
    # Checkpoints are made in a process of their own: the peak memory of what is started from here counts this process's own in.
    models = [(f"Llama-shaped, about {size} GiB", arguments.work / f"llama-{size}gib", ("llama", int(float(size) * 2**30)))
              for size in arguments.sizes.split(",") if size]
    if arguments.small_tensors:
        models.append((f"{arguments.small_tensors:,} tensors of 50 KiB", arguments.work / f"small-{arguments.small_tensors}",
                       ("small", arguments.small_tensors, 50)))
    print(describe_machine(arguments), flush=True)

    def made(directory, *recipe):
        if not directory.exists():
            run([sys.executable, HERE / "checkpoints.py", recipe[0], directory, *recipe[1:]])
        return directory.resolve()

    for i, (name, directory, recipe) in enumerate(models):
        directory = made(directory, *recipe)
        model_bytes = sum(path.stat().st_size for path in directory.glob("*.safetensors"))
        samples, probes = measure(directory, arguments)
        report(f"{name} ({model_bytes / 1e9:.2f} GB)", model_bytes, samples, probes)
        header_and_map(name, max(directory.glob("*.safetensors"), key=lambda path: path.stat().st_size), arguments)
        if i == 0 and arguments.cold:
            cold(name, directory, arguments)
        sys.stdout.flush()
        if not arguments.keep:
            shutil.rmtree(directory)
    if arguments.many:
        directories = {"many": made(arguments.work / f"small-{arguments.many}", "small", arguments.many, SMALL_KIB),
                       "one": made(arguments.work / "one", "small", 1, SMALL_KIB * arguments.many)}
        many_and_one(directories, arguments)
        if not arguments.keep:
            for directory in directories.values():
                shutil.rmtree(directory)


if __name__ == "__main__":
    main()
