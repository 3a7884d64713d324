"""The progress bar: on a terminal, not in CI, not when told so; always on standard error."""

import os
import re

import running
import safetensors_writer
from scenarios.faults import cannot_preload

BAR = r"\rverifying  \[[=> ]+\]  +\d+ %  \d+\.\d\d/\d+\.\d\d GB  \d+\.\d\d [KMG]B/s"


def verify(binary, work, *flags, terminal=True, env=None):
    """Long enough to be drawn: zeros that take no room on the disk, compared in place."""
    directory = work / "model"
    if not directory.exists():
        directory.mkdir()
        safetensors_writer.write(directory / "model.safetensors", [("w", "U8", [15 * 10**8])], sparse=True)
    arguments = ["load", "model", "--device-map", "disk", "--verify", *flags]
    result = (running.run_on_terminal if terminal else running.run)(binary, arguments, work, env)
    assert (result.status, result.stdout) == (0, "{'': 'disk'}\n"), result
    return result.stderr


def test_bar_on_a_terminal_is_drawn_and_taken_away(binary, work):
    text = verify(binary, work)
    assert re.search(BAR, text), text
    assert text.rindex("\r\x1b[K") > text.rindex("B/s  eta"), text
    assert "note" in text[text.rindex("\r\x1b[K") :]


def test_no_bar(binary, work):
    for flags, env in [(["--progress", "never"], {}), (["--quiet"], {}), ([], {"CI": "true"}), ([], {"TERM": "dumb"})]:
        assert "B/s  eta" not in verify(binary, work, *flags, env=env), (flags, env)
    assert "\r" not in verify(binary, work, terminal=False)


def test_lines_where_there_is_no_terminal(binary, work):
    text = verify(binary, work, "--progress=always", terminal=False)
    assert re.search(r"^verifying   *\d+ %  \d+\.\d\d/1\.50 GB  \d+\.\d\d [KMG]B/s", text, re.MULTILINE), text
    assert "\r" not in text and "\x1b" not in text


def test_lines_in_ci_on_a_terminal(binary, work):
    text = verify(binary, work, "--progress=always", env={"CI": "1"})
    assert re.search(r"^verifying .*B/s", text, re.MULTILINE) and "\r" not in text, text


def test_loading_and_offloading_are_shown(binary, work):
    """To the end: 16 MiB of which every read and write takes 50 ms."""
    if cannot_preload(binary):
        return
    (work / "model").mkdir()
    tensors = [("model.embed_tokens.weight", "F16", [2**21, 2]), ("lm_head.weight", "F16", [2**21, 2])]
    safetensors_writer.write(work / "model" / "model.safetensors", tensors)
    slow = {"LD_PRELOAD": os.environ["HFLOAD_FAULT_SHIM"], "HFLOAD_FAULT_CALLS": "preadv2,pread,pwrite", "HFLOAD_FAULT_AT": "1",
            "HFLOAD_FAULT_ACTION": "sleep+"}
    arguments = ["load", "model", "--device-map", '{"model": "cpu", "lm_head": "disk"}', "--max-memory", "cpu=1GB", "--dtype", "float32",
                 "--offload-folder", "out", "--threads", "1", "--progress", "always"]
    result = running.run(binary, arguments, work, slow)
    assert result.status == 0, result
    for action in ("loading", "offloading"):
        shown = re.findall(rf"^{action} +(\d+) %  \d+\.\d\d/(\d\.\d\d) ([KMG]B)  \d+\.\d\d [KMG]B/s", result.stderr, re.MULTILINE)
        parts = [int(percent) for percent, _, _ in shown]
        assert len(parts) > 1 and parts == sorted(parts) and parts[0] < 100, (action, result.stderr)
        # Half of the file's bytes are of each kind: 8 MiB.
        assert {(total, unit) for _, total, unit in shown} == {("8.39", "MB")}, shown
