"""Help, man page and completions are made from one table: each flag of --help is in all of them, and each is well-formed."""

import re
import shutil
import subprocess

import running

COMMANDS = ["inspect", "plan", "load", "scan", "convert", "verify", "diff", "gemm", "completion", "help", "version"]
SHELLS = ["bash", "zsh", "fish"]


def text_of(binary, work, *arguments):
    result = running.run(binary, arguments, work)
    assert result.status == 0 and result.stderr == "", result
    return result.stdout


def flags_in_help(binary, work):
    """{command: long flags}; None stands for the program itself."""
    helps = {command: text_of(binary, work, command, "--help") for command in COMMANDS}
    helps[None] = text_of(binary, work, "--help")
    flags = {command: set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE)) for command, text in helps.items()}
    assert {"--json", "--quiet", "--verbose", "--color", "--progress", "--help"} <= flags["plan"], flags["plan"]
    assert {"--tensors", "--tree", "--filter", "--patterns", "--metadata"} <= flags["inspect"]
    planning = {"--device-map", "--max-memory", "--dtype", "--no-split", "--compat", "--offload-folder", "--offload-buffers",
                "--fallback-allocation", "--explain", "--context", "--batch", "--kv-dtype", "--svg", "--variant", "--subfolder"}
    assert planning <= flags["plan"] and planning | {"--emulate-gpus", "--verify", "--threads"} <= flags["load"]
    assert "--version" in flags[None]
    return flags


def test_help_fits_80_columns(binary, work):
    for command in [*COMMANDS, None]:
        text = text_of(binary, work, *([command] if command else []), "--help")
        prose = text[text.index("Usage:") :]
        assert max(map(len, prose.splitlines())) <= 80, max(prose.splitlines(), key=len)


def test_help_is_that_of_the_flag(binary, work):
    assert text_of(binary, work, "help") == text_of(binary, work, "--help")
    assert text_of(binary, work, "version") == text_of(binary, work, "-V") == text_of(binary, work, "--version")
    for command in COMMANDS:
        assert text_of(binary, work, "help", command) == text_of(binary, work, command, "--help")
    listed = re.findall(r"^  (\w+) +", re.search(r"Commands:\n((?:  .*\n)+)", text_of(binary, work, "--help")).group(1), re.MULTILINE)
    assert listed == COMMANDS
    offered = re.search(r"COMMAND is one of: ([\w, \n]+)\.", text_of(binary, work, "help", "help")).group(1)
    assert re.findall(r"\w+", offered) == COMMANDS


def test_every_flag_is_in_the_man_page(binary, work):
    page = text_of(binary, work, "completion", "man").replace("\\-", "-")
    for command, flags in flags_in_help(binary, work).items():
        begin = re.search(rf"^\.SS {command}\b", page, re.M).start() if command else page.index(".SS Of every command")
        end = page.find(".SS ", begin + 1)
        common = page[page.index(".SS Of every command") : page.index(".SS inspect")]
        for flag in flags:
            assert re.search(rf"^\.B .*{flag}\b", page[begin:end] + common, re.MULTILINE), f"{flag} of {command}"


def test_every_exit_status_and_error_code_is_in_the_man_page(binary, work):
    page = text_of(binary, work, "completion", "man")
    for status in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "129", "130", "143"]:
        assert f"\n.B {status}\n" in page[page.index(".SH EXIT STATUS") :], status
    codes = re.findall(r"^\| `(\w+)` \|", text_of(binary, work, "completion", "errors"), re.MULTILINE)
    assert "offset_gap" in codes and "shard_missing" in codes
    for code in codes:
        assert f"\n.B {code}\n" in page, code


def test_every_flag_is_in_the_completions(binary, work):
    flags = flags_in_help(binary, work)
    scripts = {shell: text_of(binary, work, "completion", shell) for shell in SHELLS}
    for command in COMMANDS:
        words = re.search(rf"^ +{command}\) flags='([^']*)'", scripts["bash"], re.MULTILINE).group(1).split()
        assert flags[command] == {w for w in words if w.startswith("--")}, command
        zsh = scripts["zsh"]
        case = zsh[zsh.index(f"\n    {command})\n") :]
        case = case[: case.index(";;")]
        for flag in flags[command]:
            assert re.search(rf"'\*?{flag}=?\[", case), f"{flag} of {command} in zsh"
            fish = rf"^complete -c hfload -n '(__fish_seen_subcommand_from {command}|true|not __fish_seen_subcommand_from .*)' -l {flag[2:]} "
            assert re.search(fish, scripts["fish"], re.MULTILINE), f"{flag} of {command} in fish"
    for shell, script in scripts.items():
        assert "version" in script, shell


def test_bash_completes(binary, work):
    script = work / "hfload.bash"
    script.write_text(text_of(binary, work, "completion", "bash"))
    (work / "model dir").mkdir()

    def complete(*words):
        quoted = " ".join(f"'{w}'" for w in words)
        command = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _hfload 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        done = subprocess.run(["bash", "--norc", "-c", command], cwd=work, capture_output=True, text=True, check=True)
        return done.stdout.split("\n")[:-1]

    assert complete("hfload", "pl") == ["plan"]
    assert complete("hfload", "plan", "--max") == ["--max-memory"]
    assert complete("hfload", "plan", "--dtype", "fl") == ["float32", "float16"]
    assert complete("hfload", "load", "mod") == ["model dir"]
    assert complete("hfload", "completion", "") == SHELLS
    assert complete("hfload", "gemm", "") == [""]
    (work / "file.txt").write_text("")
    assert complete("hfload", "convert", "a", "b", "-o", "") == complete("hfload", "convert", "a", "b", "--output", "") == ["model dir"]
    # Where = ends a word, as it does in bash unless it is told otherwise; and where it does not.
    assert complete("hfload", "plan", "--device-map", "=", "seq") == ["sequential"]
    assert set(COMMANDS) <= set(complete("hfload", "help", ""))
    assert complete("hfload", "help", "pl") == ["plan"]
    assert complete("hfload", "plan", "--dtype", "=") == ["auto", "float32", "float16", "bfloat16"]
    assert complete("hfload", "plan", "--dtype=bf") == ["--dtype=bfloat16"]
    assert complete("hfload", "convert", "a", "-o", "mod") == ["model dir"]
    assert complete("hfload", "plan", "--svg", "=", "fi") == ["file.txt"]
    for words in (["--max-memory", "0", "="], ["--max-memory", "0", "=", "mod"], ["--dtype", "mod"]):
        assert complete("hfload", "plan", *words) == [""], words
    assert "--json" not in complete("hfload", "completion", "--") and "--json" in complete("hfload", "plan", "--")
    assert "--verify" not in complete("hfload", "plan", "--")
    assert "--verify" in complete("hfload", "load", "--")


def test_scripts_are_well_formed(binary, work):
    for shell in SHELLS:
        if shutil.which(shell) is None:
            print(f"skipped: no {shell} here")
            continue
        script = work / f"script.{shell}"
        script.write_text(text_of(binary, work, "completion", shell))
        done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stderr == "", f"{shell}: {done.stderr}"


def test_man_page_formats_without_warnings(binary, work):
    if shutil.which("man") is None:
        print("skipped: no man here")
        return
    page = work / "hfload.1"
    page.write_text(text_of(binary, work, "completion", "man"))
    done = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, text=True, check=False,
                          env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "TERM": "dumb"})
    assert done.returncode == 0 and done.stderr == "", done.stderr
    if "NAME" not in done.stdout:  # minimised systems replace man by a note
        print("skipped: man does not format here")
        return
    assert "--max-memory LIST" in done.stdout and "'{\"encoder\": 0" in done.stdout, done.stdout
