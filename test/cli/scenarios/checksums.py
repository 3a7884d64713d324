"""verify against what huggingface_hub records of its downloads: names of blobs, .metadata files, listings of commits. The layouts are
those of huggingface_hub 0.36 and 2.4 (file_download.py, _local_folder.py, _tree_cache.py, utils/_shared_blobs.py)."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time

import running
import safetensors_writer
from run_cli_tests import check_schema

SOURCE = running.FIXTURES / "checkpoints" / "t5-v1_1-tiny-sharded"
COMMIT = "c0ffee" + "0" * 34


def digest_of(name, content):
    """The etag: of weights, which are in Git LFS, their SHA-256; of all else git's hash of a blob."""
    if name.endswith((".safetensors", ".bin")):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def files_of_source():
    files = {p.name: p.read_bytes() for p in sorted(SOURCE.iterdir()) if p.suffix in (".safetensors", ".json")}
    return {**files, "tokenizer.json": b'{"version": "1.0"}\n'}


def make_cache(work, shared=False, linked=True):
    """A repository at one commit. In the shared store a blob is a link to a file that is named by another hash."""
    repository = work / "hub" / "models--acme--t5"
    snapshot = repository / "snapshots" / COMMIT
    for folder in (snapshot, repository / "blobs", repository / "refs", repository / "trees"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for name, content in files_of_source().items():
        blob = repository / "blobs" / digest_of(name, content)
        if not linked:
            (snapshot / name).write_bytes(content)
            continue
        if shared and name.endswith(".safetensors"):
            stored = hashlib.sha256(b"xet" + content).hexdigest()
            store = work / "hub" / "blobs" / stored[:2]
            store.mkdir(parents=True, exist_ok=True)
            (store / stored).write_bytes(content)
            blob.symlink_to(f"../../blobs/{stored[:2]}/{stored}")
        else:
            blob.write_bytes(content)
        (snapshot / name).symlink_to(f"../../blobs/{blob.name}")
    return snapshot


def make_download(folder, seconds=10):
    """A download into a directory, recorded so many seconds after the files were written."""
    records = folder / ".cache" / "huggingface" / "download"
    records.mkdir(parents=True)
    for name, content in files_of_source().items():
        (folder / name).write_bytes(content)
        written = (folder / name).stat().st_mtime
        (records / f"{name}.metadata").write_text(f"{COMMIT}\n{digest_of(name, content)}\n{written + seconds}\n")
    return folder


def listing(**changes):
    files = {}
    for name, content in files_of_source().items():
        files[name] = {"size": len(content), "blob_id": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
        if name.endswith(".safetensors"):
            files[name] |= {"blob_id": "1" * 40, "lfs_sha256": digest_of(name, content), "lfs_size": len(content), "xet_hash": "2" * 64}
    return json.dumps({"format_version": 1, "files": files | changes}, indent=1)


def flip(path):
    """The last byte that is not the end of a JSON text: of a weight, or white space; the time of the file stays."""
    target, status = os.path.realpath(path), os.stat(path)
    content = bytearray(open(target, "rb").read())
    if path.suffix == ".json":
        content[content.rindex(b" ")] = ord("\t")
    else:
        content[-4] ^= 1
    with open(target, "r+b") as file:
        file.write(content)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def verify(binary, work, *arguments, status):
    result = running.run(binary, ["verify", *map(str, arguments), "--json", "-q"], work, {"HF_HUB_CACHE": str(work / "hub")})
    assert result.status == status, result
    return check_schema(result.stdout, "verify")


def checked(report):
    return {(c["file"], c["source"]): c["matches"] for c in report["checksums"]}


def test_every_byte_of_a_download_counts(binary, work):
    """In the hub cache and in a directory: sound, and with one byte of one file flipped."""
    make_cache(work)
    make_download(work / "local")
    names = list(files_of_source())
    for model, source, folder in [("acme/t5", "blob_name", work / "hub" / "models--acme--t5" / "snapshots" / COMMIT),
                                  ("local", "download_metadata", work / "local")]:
        report = verify(binary, work, model, status=0)
        assert checked(report) == {(name, source): True for name in names}, report
        for name in names:
            kept = (folder / name).read_bytes(), (folder / name).stat().st_mtime_ns
            flip(folder / name)
            report = verify(binary, work, model, status=1)
            assert [name for (name, _), matches in checked(report).items() if not matches] == [name], (model, name, report)
            (finding,) = report["findings"]
            found, expected = digest_of(name, (folder / name).read_bytes()), digest_of(name, kept[0])
            assert (finding["code"], finding["names"]) == ("checksum_differs", [name]) and found in finding["message"] and expected in finding["message"]
            assert next(c for c in report["checksums"] if c["file"] == name)["found"] == found
            assert verify(binary, work, model, "--no-hash", status=0)["checksums"] == []
            open(os.path.realpath(folder / name), "r+b").write(kept[0])
            os.utime(folder / name, ns=(kept[1], kept[1]))


def test_text_says_how_many_files(binary, work):
    make_cache(work)
    weights = sum(name.endswith(".safetensors") for name in files_of_source())
    env = {"HF_HUB_CACHE": str(work / "hub")}
    text = running.run(binary, ["verify", "acme/t5"], work, env).stdout
    assert f"\n{weights} files match their sha256 (names of blobs)\n4 files match their git sha1 (names of blobs)\nclean: " in f"\n{text}", text
    assert "sha" not in running.run(binary, ["verify", "acme/t5", "--no-hash"], work, env).stdout
    assert "sha" not in running.run(binary, ["verify", str(SOURCE)], work).stdout


def test_any_way_to_a_blob(binary, work):
    """Through the store that repositories share, whose names are no hashes of the bytes; by a link to a folder; by its own path."""
    snapshot = make_cache(work, shared=True)
    name = next(name for name in files_of_source() if name.endswith(".safetensors"))
    (work / "link").symlink_to(snapshot)
    blob = snapshot.parent.parent / "blobs" / digest_of(name, files_of_source()[name])
    paths = [snapshot / name, "link/" + name, blob, f"hub/../link/{name}"]
    def found(path, *flags):
        """Codes of findings; one shard alone lacks tensors of the model."""
        result = running.run(binary, ["verify", str(path), "--json", "-q", *flags], work)
        report = check_schema(result.stdout, "verify")
        assert flags or [c["expected"] for c in report["checksums"] if c["algorithm"] == "sha256"] == [blob.name], (path, report)
        return [f["code"] for f in report["findings"] if f["code"] != "missing_keys"]

    assert [found(path) for path in paths] == [[]] * len(paths)
    flip(snapshot / name)
    assert [found(path) for path in paths] == [["checksum_differs"]] * len(paths)
    assert found(blob, "--no-hash") == []
    blob.rename(blob.with_name("other-etag"))
    (snapshot / name).unlink()
    (snapshot / name).symlink_to("../../blobs/other-etag")
    assert found(snapshot / name, "-q") == []


def test_listings_of_commits(binary, work):
    """Of a cache without links, as on disks that have none: the listing is all that there is."""
    snapshot = make_cache(work, linked=False)
    trees = snapshot.parent.parent / "trees"
    (trees / f"{COMMIT}.json").write_text(listing(**{"../config.json": {"size": 1, "blob_id": "3" * 40}, "absent.json": {"size": 1, "blob_id": "3" * 40}}))
    report = verify(binary, work, "acme/t5", status=0)
    assert checked(report) == {(name, "tree_listing"): True for name in files_of_source()}, report
    flip(snapshot / "config.json")
    assert not checked(verify(binary, work, "acme/t5", status=1))["config.json", "tree_listing"]
    # Of another size: nothing needs to be read.
    (snapshot / "config.json").write_bytes(files_of_source()["config.json"] + b" ")
    report = verify(binary, work, "acme/t5", status=1)
    assert next(c for c in report["checksums"] if c["file"] == "config.json")["found"] is None, report
    size = len(files_of_source()["config.json"])
    assert f"{size + 1} bytes" in report["findings"][0]["message"] and str(size) in report["findings"][0]["message"], report


def test_a_link_to_another_blob(binary, work):
    """Each blob is what its name says, and yet the snapshot is not its commit."""
    snapshot = make_cache(work)
    trees = snapshot.parent.parent / "trees"
    (trees / f"{COMMIT}.json").write_text(listing())
    verify(binary, work, "acme/t5", status=0)
    other = b'{"version": "2.0"}\n'
    (snapshot.parent.parent / "blobs" / digest_of("tokenizer.json", other)).write_bytes(other)
    (snapshot / "tokenizer.json").unlink()
    (snapshot / "tokenizer.json").symlink_to(f"../../blobs/{digest_of('tokenizer.json', other)}")
    found = checked(verify(binary, work, "acme/t5", status=1))
    assert found["tokenizer.json", "blob_name"] and not found["tokenizer.json", "tree_listing"], found


def test_files_that_were_edited_are_no_fault(binary, work):
    """As in huggingface_hub, which takes a record for outdated where the file is more than a second younger."""
    make_download(work / "m", seconds=-2)
    report = verify(binary, work, "m", status=0)
    assert all(checked(report).values()) and not report["findings"], report
    flip(work / "m" / "config.json")
    report = verify(binary, work, "m", status=0)
    assert [(f["code"], f["fault"], f["names"]) for f in report["findings"]] == [("edited_since_download", False, ["config.json"])], report
    shard = next((work / "m").glob("*.safetensors"))
    flip(shard)
    report = verify(binary, work, "m", status=1)
    assert ("checksum_differs", True, [shard.name]) in [(f["code"], f["fault"], f["names"]) for f in report["findings"]], report
    make_download(work / "n", seconds=-0.5)
    flip(work / "n" / "config.json")
    verify(binary, work, "n", status=1)


def test_a_part_of_a_download(binary, work):
    """A folder below the directory that was downloaded; a shard of which nothing is recorded; an etag of another server's."""
    make_download(work / "m")
    (work / "m" / "part").mkdir()
    shutil.copytree(SOURCE, work / "m" / "part", dirs_exist_ok=True)
    records = work / "m" / ".cache" / "huggingface" / "download"
    (records / "part").mkdir()
    for name in files_of_source():
        shutil.copy(records / f"{name}.metadata", records / "part")
    assert len(checked(verify(binary, work, "m/part", status=0))) == len(files_of_source()) - 1
    assert len(checked(verify(binary, work, "m", "--subfolder", "part", status=0))) == len(files_of_source()) - 1
    shard = next(name for name in files_of_source() if name.endswith(".safetensors"))
    (records / f"{shard}.metadata").unlink()
    (records / "config.json.metadata").write_text(f'{COMMIT}\n"5f2-abc"\n2e9\n')
    result = running.run(binary, ["verify", "m"], work)
    assert result.status == 0 and f"2 files have no checksum at hand: {shard}, …" in result.stdout, result


def test_records_that_cannot_be_read_are_warnings(binary, work):
    make_download(work / "m")
    records = work / "m" / ".cache" / "huggingface"
    count = len(files_of_source())
    for text in ["", "\n\n", f"{COMMIT}\n{'0' * 64}\nsoon\n", f"{COMMIT}\n{'0' * 64}\nnan\n", f"{COMMIT}\n{'0' * 64}\n1e999\n", "x" * 10**6]:
        (records / "download" / "config.json.metadata").write_text(text)
        report = verify(binary, work, "m", status=0)
        assert len(report["checksums"]) == count - 1 and "config.json.metadata: " in str(report["warnings"]), (text[:80], report)
    (records / "download" / "config.json.metadata").unlink()
    (records / "trees").mkdir()
    for text in ["", "[]", "{", '{"format_version": 2, "files": {}}', '{"format_version": 1}', '{"format_version": 1, "files": {"a": {"size": -1, "blob_id": "' + "0" * 40 + '"}}}',
                 '{"format_version": 1, "files": {"a": {"size": 1, "blob_id": "/"}}}', '{"format_version": 1, "files": {"a": 1}}',
                 listing().replace('"tokenizer.json"', '"config.json"'), "[" * 10**5]:
        (records / "trees" / f"{COMMIT}.json").write_text(text)
        report = verify(binary, work, "m", status=0)
        assert len(report["checksums"]) == count - 1 and f"{COMMIT}.json: " in str(report["warnings"]), (text[:80], report)


def test_hashing_shows_progress_and_can_be_stopped(binary, work):
    """Zeros that take no room on the disk, and far more seconds to hash than the test waits."""
    records = work / "m" / ".cache" / "huggingface" / "download"
    records.mkdir(parents=True)
    safetensors_writer.write(work / "m" / "model.safetensors", [("w", "U8", [2**37])], sparse=True)
    (records / "model.safetensors.metadata").write_text(f"{COMMIT}\n{'0' * 64}\n9e9\n")
    process = subprocess.Popen([binary, "verify", "m", "--progress", "always"], cwd=work, env=running.environment(work, {}),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    line = b"-"
    while line and not line.startswith(b"hashing"):
        line = process.stderr.readline()
    assert b"/137.44 GB" in line, line
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=running.SECONDS)
    assert (process.returncode, out) == (130, b"") and time.monotonic() - begin < 20, (process.returncode, out)
