"""What the user may not read: an error with the path and a hint, and no more than that is lost."""

import json
import os
import shutil
import subprocess

import running
import safetensors_writer
import setups
from run_cli_tests import check_schema

NOBODY = 65534
HINT = "See who owns the path and who may read it, or choose another one."


def run_as_nobody(binary, work, *arguments, env=None):
    """root may read everything, so the program runs as another user; nothing where that is not possible."""
    other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    work.chmod(0o755)
    own = work / "hfload"
    if not own.exists():
        shutil.copy(binary, own)  # the build's folder may be closed to others
    try:
        done = subprocess.run([own, *arguments], cwd=work, env=running.environment(work, env or {}), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=running.SECONDS, check=False, **other)
    except PermissionError:
        print("skipped: no program can be run as another user here")
        return None
    return running.Result(done.returncode, done.stdout, done.stderr)


def refused(binary, work, path, *arguments, env=None):
    """The error of a command that must fail with io_error at that path."""
    result = run_as_nobody(binary, work, *arguments, "--json", env=env)
    if result is None:
        return
    error = check_schema(result.stdout, "error")["error"]
    assert (result.status, error["code"], error["path"], error["hint"]) == (5, "io_error", path, HINT), (arguments, result)
    assert "Permission denied" in error["message"] and result.stderr.endswith(f" [io_error]\nhint: {HINT}\n"), (arguments, result)


def test_a_closed_model_directory(binary, work):
    setups.write_llama(work / "closed")
    (work / "closed").chmod(0)
    for arguments in (["inspect", "closed"], ["plan", "closed"], ["load", "closed"], ["verify", "closed"], ["scan", "closed"],
                      ["diff", "closed", "closed"]):
        refused(binary, work, "closed", *arguments)
    (work / "closed").chmod(0o755)


def test_a_closed_directory_on_the_way(binary, work):
    setups.write_llama(work / "closed" / "llama")
    (work / "closed").chmod(0)
    for path in ("closed/llama", "closed/llama/config.json"):
        result = run_as_nobody(binary, work, "inspect", path)
        if result is not None:
            assert result.status == 5 and result.stderr.startswith(f"error: {path}: a directory on the way "), result
    refused(binary, work, "./closed", "inspect", ".", "--subfolder", "closed")
    (work / "closed").chmod(0o755)


def test_a_closed_hub_cache(binary, work):
    (work / "hub").mkdir()
    (work / "hub").chmod(0)
    refused(binary, work, f"{work}/hub/models--acme--tiny", "inspect", "acme/tiny", env={"HF_HUB_CACHE": str(work / "hub")})
    (work / "hub").chmod(0o755)


def test_closed_files(binary, work):
    for name in ("config.json", "model.safetensors"):
        directory = name.split(".")[0]
        setups.write_llama(work / directory)
        (work / directory / name).chmod(0)
        for command in ("inspect", "load", "verify"):
            refused(binary, work, f"{directory}/{name}", command, directory)
    safetensors_writer.write(work / "alone", [("w", "F32", [1])])
    (work / "alone").chmod(0)
    refused(binary, work, "alone", "inspect", "alone")
    refused(binary, work, "alone", "scan", "alone")


def test_a_scan_goes_on(binary, work):
    """Past a folder and files that cannot be read, of a directory and of the command line."""
    (work / "all").mkdir()
    setups.pickles(work / "all")
    (work / "all" / "closed").mkdir()
    (work / "all" / "closed" / "x.bin").write_bytes(b"\x80\x02}.")
    (work / "all" / "unnamed").write_bytes(b"\x80\x02}.")
    (work / "all" / "named.bin").write_bytes(b"\x80\x02}.")
    closed = ["all/closed", "all/named.bin", "all/unnamed"]
    for path in closed:
        (work / path).chmod(0)
    for arguments in (["all"], [str(p.relative_to(work)) for p in sorted((work / "all").iterdir())]):
        result = run_as_nobody(binary, work, "scan", *arguments, "--json", "-q")
        if result is None:
            break
        document = check_schema(result.stdout, "scan")
        assert (result.status, document["denied"]) == (1, 2), result
        assert [f["file"] for f in document["files"]] == [f"all/{n}.pkl" for n in ("clean", "cut", "denied", "steers")], document
        assert sorted(e["path"] for e in document["errors"]) == closed, document
        assert {(e["code"], e["hint"]) for e in document["errors"]} == {("io_error", HINT)}, document
        assert all(f"error: {path}: " in result.stderr for path in closed), result
        result = run_as_nobody(binary, work, "scan", "all/clean.pkl", "all/named.bin")
        assert result.status == 5 and result.stdout == "" and "1 pickle in 1 file: " in result.stderr, result
    (work / "all" / "closed").chmod(0o755)


def test_a_folder_that_may_be_listed_and_not_searched(binary, work):
    (work / "listed").mkdir()
    (work / "listed" / "x.pkl").write_bytes(b"\x80\x02}.")
    (work / "listed").chmod(0o744)
    result = run_as_nobody(binary, work, "scan", "listed", "--json", "-q")
    if result is not None:
        error = json.loads(result.stdout)["error"]
        assert (result.status, error["code"], error["path"]) == (5, "io_error", "listed"), result
    (work / "listed").chmod(0o755)
