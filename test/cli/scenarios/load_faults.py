"""A load whose system calls fail ends with one error that names the file, exit status 5, and no product; one that is
interrupted or cut short in a call goes on, and loads the same bytes."""

import json
import os
import re
import shutil
import subprocess

import running
import safetensors_writer
import setups
from scenarios.faults import cannot_preload
from scenarios.reading import has_direct_reads, write_model

READS = "preadv2,pread"
WAYS = (["--device-map", "cpu", "--io", "auto"], ["--device-map", "cpu", "--io", "pread"], ["--device-map", "cpu", "--io", "direct"],
        ["--device-map", "sequential", "--max-memory", "0=2.5KB,cpu=1GB", "--emulate-gpus"],
        ["--device-map", "cpu", "--dtype", "float32"])


def load(binary, work, way, at, action, count=None):
    env = {"LD_PRELOAD": os.environ["HFLOAD_FAULT_SHIM"], "HFLOAD_FAULT_CALLS": READS, "HFLOAD_FAULT_AT": str(at), "HFLOAD_FAULT_ACTION": action}
    if count:
        env["HFLOAD_FAULT_COUNT"] = str(count)
    arguments = ["load", "llama", "--verify", "--json", "--threads", "1", *way]
    return running.run(binary, arguments, work, env)


def undisturbed(binary, work, way):
    result = load(binary, work, way, 0, "kill", work / "calls")
    if result.status == 5 and "direct" in way:
        return None, 0  # a file system without direct reads
    assert result.status == 0, result.stderr
    calls = int((work / "calls").read_text())
    assert calls > 3, calls
    return json.loads(result.stdout)["hashes"], calls


def test_a_read_that_fails_is_one_error(binary, work):
    if cannot_preload(binary):
        return
    setups.llama(work)
    for way in WAYS:
        hashes, calls = undisturbed(binary, work, way)
        failed = 0
        for at in range(1, calls + 1):
            result = load(binary, work, way, at, "EIO")
            document = json.loads(result.stdout)
            if result.status == 0:
                # Asking what the page cache holds may fail: the bytes are then read the other way.
                assert document["hashes"] == hashes, (way, at)
                continue
            failed += 1
            assert result.status == 5, (way, at, result)
            assert document["error"]["code"] == "io_error", (way, at, document)
            assert document["error"]["path"], document
            assert len(re.findall(r"^error: ", result.stderr, re.M)) == 1, result.stderr
        assert failed > 0 or hashes is None, way


def test_interrupted_and_short_reads_go_on(binary, work):
    if cannot_preload(binary):
        return
    setups.llama(work)
    for way in WAYS:
        hashes, calls = undisturbed(binary, work, way)
        for at in range(1, calls + 1):
            for action in ("EINTR", "short"):
                result = load(binary, work, way, at, action)
                assert result.status == 0, (way, at, action, result)
                assert json.loads(result.stdout)["hashes"] == hashes, (way, at, action)


def test_an_offload_folder_that_cannot_be_written(binary, work):
    """A full disk, and a write that writes nothing, which is not tried for ever: for a tensor's file, the first, and for index.json, the last,
    of which nothing is left."""
    if cannot_preload(binary):
        return
    setups.llama(work)
    arguments = ["load", "llama", "--device-map", "disk", "--dtype", "float32", "--offload-folder"]
    env = {"LD_PRELOAD": os.environ["HFLOAD_FAULT_SHIM"], "HFLOAD_FAULT_CALLS": "pwrite", "HFLOAD_FAULT_COUNT": str(work / "calls")}
    assert running.run(binary, [*arguments, "whole"], work, env).status == 0
    writes = int((work / "calls").read_text())
    assert writes == len(os.listdir(work / "whole")) > 2
    for call, number, action, code in [("pwrite", 1, "nothing", "io_error"), ("pwrite", writes, "nothing", "io_error"), ("pwrite", 1, "ENOSPC", "no_space"),
                                       ("pwrite", writes, "ENOSPC", "no_space"), ("fallocate", 1, "ENOSPC", "no_space")]:
        fault = {"HFLOAD_FAULT_CALLS": call, "HFLOAD_FAULT_AT": str(number), "HFLOAD_FAULT_ACTION": action}
        result = running.run(binary, [*arguments, "out", "--json"], work, {**env, **fault})
        assert result.status == 5 and json.loads(result.stdout)["error"]["code"] == code, (fault, result)
        assert list((work / "out").iterdir()) == [], fault


# Types of statfs(2).
NETWORK = {"NFS": 0x6969, "CIFS": 0xFF534D42, "SMB2": 0xFE534D42, "Ceph": 0x00C36400, "Lustre": 0x0BD00BD0, "FUSE": 0x65735546, "9p": 0x01021997}
LOCAL = {"ext4": 0xEF53, "xfs": 0x58465342, "btrfs": 0x9123683E, "tmpfs": 0x01021994, "overlayfs": 0x794C7630}


def test_a_network_file_system_is_read_by_more_threads_in_larger_pieces(binary, work):
    """The pieces that docs/loading.md gives, and no direct reads."""
    if cannot_preload(binary):
        return
    sizes, mebibyte = {"small": 1 << 10, "large": 32 << 20}, 1 << 20
    for name, size in sizes.items():
        (work / name).mkdir()
        safetensors_writer.write(work / name / "model.safetensors", [("w", "U8", [size])], sparse=True)

    def read(type_, *flags, name="large", calls="preadv2"):
        with open(work / name / "model.safetensors", "rb") as file:
            file.read()
        env = {"LD_PRELOAD": os.environ["HFLOAD_FAULT_SHIM"], "HFLOAD_FAULT_FILE_SYSTEM": hex(type_), "HFLOAD_FAULT_CALLS": calls,
               "HFLOAD_FAULT_COUNT": str(work / "calls")}
        result = running.run(binary, ["load", name, "--device-map", "cpu", "--max-memory", "cpu=1GB", "--json", "-q", *flags], work, env)
        assert result.status == 0, result
        io = json.loads(result.stdout)["io"]
        assert io["read_bytes"] == sizes[name]
        return io["threads"], int((work / "calls").read_text())

    usual, calls = read(LOCAL["ext4"])
    assert calls >= sizes["large"] // (4 * mebibyte), calls
    # A piece takes one call, or two where a part of it has left the page cache.
    fewest = sizes["large"] // (16 * mebibyte)
    assert fewest <= read(NETWORK["NFS"])[1] <= 2 * fewest
    for system, type_ in (NETWORK | LOCAL).items():
        threads = read(type_, name="small")[0]
        assert threads == (max(usual, 8) if system in NETWORK else usual), (system, threads)
    assert read(NETWORK["NFS"], "--threads", "3")[0] == 3
    # What is converted takes a buffer: of 256 KiB, or of all readers' 16 MiB.
    (work / "converted").mkdir()
    sizes["converted"] = 32 * mebibyte
    safetensors_writer.write(work / "converted" / "model.safetensors", [("w", "F32", [8 * mebibyte])], sparse=True)
    to_bfloat16 = ["--dtype", "bfloat16", "--threads", "8"]
    assert read(LOCAL["ext4"], *to_bfloat16, name="converted")[1] >= sizes["converted"] // (256 << 10)
    fewest = sizes["converted"] // (2 * mebibyte)
    assert fewest <= read(NETWORK["NFS"], *to_bfloat16, name="converted")[1] <= 2 * fewest
    # Direct reads take a descriptor of their own.
    opened = {type_: read(type_, name="small", calls="open")[1] for type_ in (LOCAL["ext4"], NETWORK["NFS"])}
    assert opened[NETWORK["NFS"]] == opened[LOCAL["ext4"]] - 1, opened


def test_a_dry_run_counts_the_reads_of_the_load(binary, work):
    """One call for each, but for the headers', which both of them read."""
    if cannot_preload(binary):
        return
    mebibyte = 1 << 20
    tensors = [("p", "U8", [9 * mebibyte]), ("q", "F32", [100]), ("r", "F32", [100]), ("s", "F32", [700_000])]
    safetensors_writer.write(work / "m.safetensors", tensors)
    arguments = ["load", "m.safetensors", "--io", "pread", "--threads", "1", "--max-memory", "0=1GB,cpu=1GB", "--emulate-gpus", "--json", "-q"]
    for device_map, dtype in [("cpu", "float32"), ("cpu", "float16"), ("0", "float16"), ('{"p": 0, "q": "cpu", "r": "disk", "s": "cpu"}', "float32")]:
        counts, documents = [], []
        for flags in ([], ["--dry-run"]):
            env = {"LD_PRELOAD": os.environ["HFLOAD_FAULT_SHIM"], "HFLOAD_FAULT_CALLS": READS, "HFLOAD_FAULT_COUNT": str(work / "calls")}
            result = running.run(binary, [*arguments, "--device-map", device_map, "--dtype", dtype, *flags], work, env)
            assert result.status == 0, result
            counts.append(int((work / "calls").read_text()))
            documents.append(json.loads(result.stdout))
        (shard,) = documents[1]["load_plan"]["shards"]
        assert shard["reads"] == counts[0] - counts[1] > 1, (device_map, dtype, shard, counts)
        assert shard["read_bytes"] == documents[0]["io"]["read_bytes"], (shard, documents[0]["io"])


def cannot_trace(binary):
    """Sanitizers trace their own process at its end, and need memory that is refused here."""
    if running.is_sanitized(binary):
        return True
    strace = shutil.which("strace")
    if strace and subprocess.run([strace, "-f", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode == 0:
        return False
    print("skipped: there is no strace, or it may not trace")
    return True


def traced(binary, work, inject, *arguments, log="/dev/null"):
    injected = [option for fault in inject for option in ("-e", fault)]
    return running.run("/usr/bin/env", ["strace", "-f", "-y", "-qq", "-o", str(log), *injected, binary, *arguments], work)


def load_llama(*flags):
    return ["load", "llama", "--device-map", "cpu", "--max-memory", "cpu=1GB", "--verify", "--json", "--threads", "1", *flags]


def check_one_error(result, status, code):
    assert result.status == status, result
    assert json.loads(result.stdout)["error"]["code"] == code, result
    assert re.findall(r"^error: .*\[(\w+)\]$", result.stderr, re.M) == [code], result.stderr


def test_io_uring_that_fails(binary, work):
    expected = write_model(work)
    if cannot_trace(binary) or not has_direct_reads(work / "llama" / "model.safetensors"):
        return
    direct = load_llama("--io", "direct")

    def hashes(result):
        assert result.status == 0, result
        document = json.loads(result.stdout)
        assert document["hashes"] == expected and document["io"]["direct_bytes"] == 2512, document
        return document["io"]["io_uring"]

    usual = hashes(traced(binary, work, [], *direct))
    # Without io_uring the reads are as direct.
    assert not hashes(traced(binary, work, ["inject=io_uring_setup:error=ENOSYS"], *direct))
    if not usual:
        print("skipped: no io_uring here")
        return
    assert hashes(traced(binary, work, ["inject=io_uring_enter:error=EINTR:when=1"], *direct))
    check_one_error(traced(binary, work, ["inject=io_uring_enter:error=EIO"], *direct), 5, "io_error")


def test_system_calls_that_fail(binary, work):
    expected = write_model(work)
    if cannot_trace(binary):
        return
    through = load_llama("--io", "pread")
    trace = work / "trace"
    assert traced(binary, work, ["trace=pread64"], *through, log=trace).status == 0
    # strace counts for each thread alone, and the reads of the program's loader too.
    threads = {}
    for line in trace.read_text().splitlines():
        threads.setdefault(line.split()[0], []).append(".safetensors>" in line)
    most = max(map(len, threads.values()))
    numbers = [n for n in range(1, most + 1) if all(reads[n - 1] for reads in threads.values() if len(reads) >= n)]
    # Header and weights, then the weights again for --verify.
    assert len(numbers) >= 3, trace.read_text()
    for fault in [f"pread64:error=EINTR:when={n}" for n in numbers] + ["madvise:error=EINVAL", "io_uring_setup:error=ENOSYS"]:
        result = traced(binary, work, [f"inject={fault}"], *through)
        assert result.status == 0, (fault, result)
        assert json.loads(result.stdout)["hashes"] == expected, fault
    for n in numbers:
        check_one_error(traced(binary, work, [f"inject=pread64:error=EIO:when={n}"], *through), 5, "io_error")


def test_memory_that_is_refused(binary, work):
    """The arena, which is the one mapping that is larger than the tensors."""
    if cannot_trace(binary):
        return
    (work / "model").mkdir()
    size = 48 << 20
    safetensors_writer.write(work / "model" / "model.safetensors", [("w", "U8", [size])], sparse=True)
    arguments = ["load", "model", "--device-map", "cpu", "--max-memory", "cpu=1GB", "--threads", "1", "--json"]
    trace = work / "trace"
    assert traced(binary, work, ["trace=mmap"], *arguments, log=trace).status == 0
    lines = trace.read_text().splitlines()
    main = [line for line in lines if line.split()[0] == lines[0].split()[0] and " mmap(" in line]
    large = [at for at, line in enumerate(main, 1) if int(re.search(r"mmap\(\w+, (\d+),", line).group(1)) >= size]
    assert large, trace.read_text()
    result = traced(binary, work, [f"inject=mmap:error=ENOMEM:when={large[0]}"], *arguments)
    check_one_error(result, 9, "out_of_memory")
    assert "48.0 MiB" in result.stderr or str(size) in result.stderr, result.stderr
