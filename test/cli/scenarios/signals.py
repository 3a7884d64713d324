"""A command that is interrupted releases everything, says so once and exits 129, 130 or 143; one that is told so twice ends at once."""

import json
import os
import re
import signal
import subprocess
import time

import running
import safetensors_writer
import setups
from scenarios.faults import cannot_preload, tree
from scenarios.reading import write_model

SPARSE_BYTES = 2**37  # zeros that take no room on the disk, and far more seconds to read than the test waits


def start_long_verification(binary, work):
    (work / "model").mkdir()
    safetensors_writer.write(work / "model" / "model.safetensors", [("w", "U8", [SPARSE_BYTES])], sparse=True)
    arguments = ["load", "model", "--device-map", "disk", "--verify", "--progress", "always"]
    process = subprocess.Popen([binary, *arguments], cwd=work, env=running.environment(work, {}), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    line = b""
    while b"verifying" not in line:
        line = process.stderr.readline()
        assert line, f"ended before it verified: {process.wait()}"
    return process


def sentences(err):
    return re.findall(r"^(?:error|hint|warning): .*$", err, re.MULTILINE)


def interrupt(binary, work, signal_number, status):
    process = start_long_verification(binary, work)
    begin = time.monotonic()
    process.send_signal(signal_number)
    out, err = process.communicate(timeout=running.SECONDS)
    assert process.returncode == status, process.returncode
    assert out == b"", out
    assert sentences(err.decode()) == [f"error: interrupted by {signal_number.name} [interrupted]"], err
    assert time.monotonic() - begin < 20


def test_interrupt(binary, work):
    interrupt(binary, work, signal.SIGINT, 130)


def test_terminate(binary, work):
    interrupt(binary, work, signal.SIGTERM, 143)


def test_hang_up(binary, work):
    interrupt(binary, work, signal.SIGHUP, 129)


def test_ignored_interrupt_stays_ignored(binary, work):
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start_long_verification(binary, work)
    finally:
        signal.signal(signal.SIGINT, previous)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=running.SECONDS)
    assert process.returncode == 143, process.returncode


def test_a_lost_mapping_is_an_error_in_the_usual_form(binary, work):
    """What the kernel sends to a process whose mapped file was truncated."""
    process = start_long_verification(binary, work)
    process.send_signal(signal.SIGBUS)
    _, err = process.communicate(timeout=running.SECONDS)
    assert process.returncode == 5, process.returncode
    assert re.search(rb"^error: a mapped file was truncated, .* \[changed_during_read\]\nhint: ", err, re.M), err


def at_call(number, calls, action, count=None):
    env = {"LD_PRELOAD": os.environ["HFLOAD_FAULT_SHIM"], "HFLOAD_FAULT_CALLS": calls, "HFLOAD_FAULT_AT": str(number), "HFLOAD_FAULT_ACTION": action}
    return {**env, "HFLOAD_FAULT_COUNT": str(count)} if count else env


def test_a_signal_at_the_last_call_counts(binary, work):
    """Nobody looks for one between pieces any more."""
    if cannot_preload(binary):
        return
    write_model(work)
    gpu = ["--device-map", "sequential", "--max-memory", "0=2.5KB,cpu=1GB", "--emulate-gpus"]
    commands = [["load", "llama", "--device-map", "cpu", "--io", "pread"], ["load", "llama", *gpu], ["load", "llama", "--device-map", "disk", "--verify"],
                ["load", "llama", *gpu, "--verify"], ["verify", "llama"], ["diff", "llama", "llama"]]
    for command in commands:
        arguments = [*command, "--threads", "1", "--json"]
        assert running.run(binary, arguments, work, at_call(0, "preadv2,pread", "SIGINT", work / "calls")).status == 0
        calls = int((work / "calls").read_text())
        for name, status in ("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129):
            result = running.run(binary, arguments, work, at_call(calls, "preadv2,pread", name))
            assert result.status == status, (command, name, result)
            assert json.loads(result.stdout)["error"]["code"] == "interrupted", result
            assert sentences(result.stderr) == [f"error: interrupted by {name} [interrupted]"], result


def test_a_conversion_that_is_told_to_stop_by_a_closing_terminal_leaves_no_temporaries(binary, work):
    if cannot_preload(binary):
        return
    setups.llama(work)
    arguments = ["convert", "llama", "out", "--dtype", "float32", "--threads", "1", "--json"]
    written = "pwrite,fsync"
    assert running.run(binary, arguments, work, at_call(0, written, "SIGHUP", work / "calls")).status == 0
    assert running.run("/bin/rm", ["-r", "out"], work).status == 0
    for at in range(1, int((work / "calls").read_text()) + 1):
        result = running.run(binary, arguments, work, at_call(at, written, "SIGHUP"))
        assert result.status == 129, (at, result)
        left = sorted(tree(work / "out")) if (work / "out").exists() else []
        # Beyond the commit point the output is whole.
        assert left in ([], ["config.json", "model.safetensors"]), (at, left)
        running.run("/bin/rm", ["-rf", "out"], work)


def test_an_offload_folder_is_old_or_new(binary, work):
    if cannot_preload(binary):
        return
    write_model(work)
    (work / "out").mkdir()
    (work / "out" / "index.json").write_text("{}")
    old = tree(work / "out")
    arguments = ["load", "llama", "--device-map", '{"model": "cpu", "lm_head": "disk"}', "--max-memory", "cpu=1GB", "--dtype", "float32",
                 "--offload-folder", "out", "--threads", "1", "--json"]
    # One file is written and flushed. The next call is of the index, which a signal no longer keeps from being written.
    for at in (1, 2, 3):
        result = running.run(binary, arguments, work, at_call(at, "pwrite,fsync", "SIGTERM"))
        assert result.status == 143, (at, result)
        is_new = sorted(tree(work / "out")) == ["index.json", "lm_head.weight.dat"]
        assert is_new if at == 3 else tree(work / "out") == old, (at, sorted(tree(work / "out")))


LARGE = [("model.embed_tokens.weight", "F16", [2**21, 2]), ("lm_head.weight", "F16", [2**21, 2])]


def start_slowly(binary, work, action, *flags, calls="preadv2,pread", at=1):
    """16 MiB that take long, as every call takes 50 ms; waits until the progress says what is done."""
    if not (work / "large").exists():
        (work / "large").mkdir()
        safetensors_writer.write(work / "large" / "model.safetensors", LARGE)
    arguments = ["load", "large", "--progress", "always", "--threads", "1", "--max-memory", "0=1GB,cpu=1GB", *flags]
    process = subprocess.Popen([binary, *arguments], cwd=work, env=running.environment(work, at_call(at, calls, "sleep+")),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    line = b""
    while not line.startswith(action):
        line = process.stderr.readline()
        assert line, f"ended before it was {action}: {process.wait()}"
    return process


def test_interrupted_while_loading_and_offloading(binary, work):
    if cannot_preload(binary):
        return
    (work / "out").mkdir()
    (work / "out" / "index.json").write_text("{}")
    to_disk = ["--device-map", '{"model": "cpu", "lm_head": "disk"}', "--dtype", "float32", "--offload-folder", "out"]
    old = tree(work / "out")
    for action, flags, calls in [(b"loading", ["--device-map", "cpu", "--dtype", "float32"], "preadv2,pread"),
                                 (b"loading", ["--device-map", "0", "--emulate-gpus", "--dtype", "float32"], "preadv2,pread"),
                                 (b"offloading", to_disk, "pwrite")]:
        process = start_slowly(binary, work, action, *flags, calls=calls)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=running.SECONDS)
        assert (process.returncode, out) == (130, b""), (action, flags, process.returncode, err)
        assert sentences(err.decode()) == ["error: interrupted by SIGINT [interrupted]"], err
        assert tree(work / "out") == old, tree(work / "out")
