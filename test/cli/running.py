"""Runs the program and keeps what it wrote, with an environment that holds nothing but what the test says."""

import dataclasses
import os
import pathlib
import pty
import select
import subprocess
import termios

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
SCHEMAS = HERE / "schemas"
SECONDS = 300


@dataclasses.dataclass
class Result:
    status: int
    stdout: str
    stderr: str


def environment(work, changes):
    """HOME is the test's own directory, so that no cache of the user's is found. Sanitizers' and loaders' variables stay."""
    kept = {k: v for k, v in os.environ.items() if k == "PATH" or k.startswith(("ASAN_", "UBSAN_", "TSAN_", "LSAN_", "LD_"))}
    return {**kept, "HOME": str(work), "LC_ALL": "C.UTF-8", **changes}


def run(binary, arguments, work, env=None, stdout=subprocess.PIPE):
    done = subprocess.run([binary, *arguments], cwd=work, env=environment(work, env or {}), stdin=subprocess.DEVNULL,
                          stdout=stdout, stderr=subprocess.PIPE, timeout=SECONDS, check=False)
    return Result(done.returncode, (done.stdout or b"").decode("utf-8", "surrogateescape"),
                  done.stderr.decode("utf-8", "surrogateescape"))


def is_sanitized(binary):
    """Sanitizers take memory of their own, and ten times as long to start. Reads little at once: what a test takes counts as its
    children's too."""
    end = b""
    with open(binary, "rb") as file:
        while part := file.read(2**20):
            if b"__asan_" in end + part or b"__tsan_" in end + part:
                return True
            end = part[-8:]
    return False


class NoTerminal(Exception):
    """This system gives no pseudo-terminal, so that what a test would see on one cannot be seen."""


def run_on_terminal(binary, arguments, work, env=None, columns=80, stdout=None):
    """Standard output and standard error are one terminal each; or standard output is the given open file."""
    try:
        pairs = [pty.openpty(), pty.openpty()]
    except OSError as fault:
        raise NoTerminal(f"no pseudo-terminal can be opened (is /dev/pts mounted?): {fault}") from fault
    for _, terminal in pairs:
        termios.tcsetwinsize(terminal, (24, columns))
    process = subprocess.Popen([binary, *arguments], cwd=work, stdin=subprocess.DEVNULL, stdout=stdout or pairs[0][1], stderr=pairs[1][1],
                               env=environment(work, {"TERM": "xterm-256color", **(env or {})}))
    for _, terminal in pairs:
        os.close(terminal)
    open_ends, texts = [pair[0] for pair in pairs], {pair[0]: b"" for pair in pairs}
    while open_ends:
        ready = select.select(open_ends, [], [], SECONDS)[0]
        assert ready, "the program wrote nothing for too long"
        for end in ready:
            try:
                chunk = os.read(end, 65536)
            except OSError:  # how Linux says that the other side of a terminal is closed
                chunk = b""
            texts[end] += chunk
            if not chunk:
                open_ends.remove(end)
                os.close(end)
    # A terminal driver ends lines in \r\n.
    out, err = (texts[pair[0]].decode("utf-8", "surrogateescape").replace("\r\n", "\n") for pair in pairs)
    return Result(process.wait(SECONDS), out, err)


def run_into_closed_pipe(binary, arguments, work, env=None):
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        return run(binary, arguments, work, env, stdout=write_end)
    finally:
        os.close(write_end)
