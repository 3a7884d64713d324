"""A load whose system calls fail ends with one error that names the file, exit status 5, and no product; one that is
interrupted or cut short in a call goes on, and loads the same bytes."""

import json
import os
import re

import running
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
    arguments = ["load", "llama", "--max-memory", "cpu=1GB", "--verify", "--json", "--threads", "1", *way]
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
