"""The progress bar: on a terminal, not in CI, not when told so; always on standard error."""

import re

import running
import safetensors_writer

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
