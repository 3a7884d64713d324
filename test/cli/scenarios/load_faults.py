"""A load whose system calls fail ends with one error that names the file, exit status 5, and no product; one that is
interrupted or cut short in a call goes on, and loads the same bytes."""

import json
import os
import re

import running
import safetensors_writer
import setups
from scenarios.faults import cannot_preload

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
    # Direct reads take a descriptor of their own.
    opened = {type_: read(type_, name="small", calls="open")[1] for type_ in (LOCAL["ext4"], NETWORK["NFS"])}
    assert opened[NETWORK["NFS"]] == opened[LOCAL["ext4"]] - 1, opened
