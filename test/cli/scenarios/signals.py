"""A load that is interrupted releases everything and exits 130 or 143; one that is told so twice ends at once."""

import re
import signal
import subprocess
import time

import running
import safetensors_writer

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


def interrupt(binary, work, signal_number, status):
    process = start_long_verification(binary, work)
    begin = time.monotonic()
    process.send_signal(signal_number)
    out, _ = process.communicate(timeout=running.SECONDS)
    assert process.returncode == status, process.returncode
    assert out == b"", out
    assert time.monotonic() - begin < 20


def test_interrupt(binary, work):
    interrupt(binary, work, signal.SIGINT, 130)


def test_terminate(binary, work):
    interrupt(binary, work, signal.SIGTERM, 143)


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
