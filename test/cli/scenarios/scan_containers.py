"""What hides pickles is looked into, and what was not looked into never ends with 0. Python's own modules make the files."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib

import running
from run_cli_tests import check_schema

DENIED = b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."
HARMLESS = pickle.dumps({"a": [1, 2.0, "three"]})
CALL = "os.system('true')"


def tar_of(members, mode="w", form=tarfile.GNU_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def npy_of(descr, data, version=1, shape="(1,)"):
    """numpy/lib/format.py: magic, version, length and text of the header, data."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(header)) + header + data


def old_joblib(data, space=b""):
    return b"ZF" + hex(len(data)).ljust(19).encode() + space + zlib.compress(data)


def old_torch(last):
    """torch before 0.2: a tar whose `storages` and `tensors` have raw numbers between pickles (torch/serialization.py, legacy_load)."""
    storage = b"\x80\x02K\x07U\x03cpuctorch\nFloatStorage\n\x87." + struct.pack("<q", 4) + b"RRRR" * 4
    tensor = b"\x80\x02K\x05K\x07ctorch\nFloatTensor\n\x87." + struct.pack("<ii3q", 1, 0, 4, 1, 0)
    return tar_of([("sys_info", HARMLESS), ("pickle", b"\x80\x02}U\x01wU\x015Qs."), ("tensors", b"\x80\x02K\x01." + tensor),
                   ("storages", b"\x80\x02K\x01." + storage + last)])


def containers(data):
    """(name, bytes) of containers with that pickle in them."""
    lzma_alone = lzma.compress(data, format=lzma.FORMAT_ALONE)
    yield from {"zlib": zlib.compress(data), "gz": gzip.compress(data), "bz2": bz2.compress(data), "xz": lzma.compress(data),
                "lzma": lzma_alone, "c.joblib": zlib.compress(data, 3), "l.joblib": lzma_alone, "zf.joblib": old_joblib(data),
                "zf2.joblib": old_joblib(data, b" "), "two.gz": gzip.compress(data[:9]) + gzip.compress(data[9:]),
                "garbage.z": zlib.compress(data) + b"garbage", "after.gz": gzip.compress(b"text") + bytes(90) + data,
                "zeros": bytes(512) + data, "two.pkl": HARMLESS + bytes(7) + data}.items()
    yield from {"a.tar": tar_of([("note.txt", b"text"), ("sub/weights", data)]), "a.tgz": tar_of([("x.pkl", data)], "w:gz"),
                "pax.tar": tar_of([("é" * 150, data)], form=tarfile.PAX_FORMAT), "long.tar": tar_of([("n/" * 90 + "x", data)]),
                "ustar.tar": tar_of([("n/" * 70 + "x", data)], form=tarfile.USTAR_FORMAT), "old.pth": old_torch(data)}.items()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        yield f"{method}.zip", zip_of([("config.json", b"{}"), ("x/weights", data)], method)
    weights = zip_of([("archive/data.pkl", data), ("archive/data/0", bytes(16))], zipfile.ZIP_STORED)
    yield "a.nemo", tar_of([("./model_config.yaml", b"a: 1"), ("./model_weights.ckpt", weights)])
    yield "a.mar", zip_of([("serialized.zip", zip_of([("inner.tar", tar_of([("q", data)]))]))])
    yield "__0_0.distcp", zip_of([("archive/data.pkl", HARMLESS)], zipfile.ZIP_STORED) + weights
    yield "prefix.dat", b"#!/bin/sh\n" * 9 + zip_of([("x.pkl", data)])
    for version in (1, 2, 3):
        yield f"{version}.npy", npy_of("'|O'", data, version)
    yield "fields.npy", npy_of("[('O', '<i4'), (('t', 'n'), [('x', '|O'), ('y', '<f8', (2,))])]", data)
    yield "several.npy", npy_of("[('O', '<f8', (2, 1))]", bytes(32), 1, "(2, 1)") + npy_of("'O'", data)
    yield "a.npz", zip_of([("x.npy", npy_of("'<f8'", bytes(8))), ("y.npy", npy_of("'|O'", data))])


def scan(binary, work, name):
    result = running.run(binary, ["scan", name, "--json", "-q"], work)
    return result, check_schema(result.stdout, "scan") if result.status != 5 and result.stdout else None


def calls_of(document):
    return [c["call"] for f in document["files"] for p in f["pickles"] for g in p["globals"] for c in g["calls"]]


def test_what_lies_in_containers_is_found(binary, work):
    names = []
    for name, content in containers(DENIED):
        (work / name).write_bytes(content)
        result, document = scan(binary, work, name)
        assert result.status == 1 and calls_of(document) == [CALL], (name, result)
        names.append(name)
    assert len(names) >= 30
    result, document = scan(binary, work, ".")
    assert result.status == 1 and document["denied"] == len(names), result
    text = running.run(binary, ["scan", "a.nemo", "two.gz", "-q"], work)
    assert text.stdout.splitlines()[0].endswith(f": denied os.system (GLOBAL): {CALL}"), text
    assert "a.nemo:./model_weights.ckpt:archive/data.pkl:" in text.stdout and "two.gz:(gzip):2: denied" in text.stdout, text


def test_harmless_containers_are_harmless(binary, work):
    for name, content in containers(HARMLESS):
        (work / name).write_bytes(content)
        result, document = scan(binary, work, name)
        assert result.status == 0 and document["denied"] == 0 and document["files"], (name, result)


def test_a_link_that_leads_nowhere_is_not_clean(binary, work):
    (work / "m").mkdir()
    (work / "m" / "a.pkl").write_bytes(HARMLESS)
    (work / "m" / "pytorch_model.bin").symlink_to("../blobs/gone")
    result, document = scan(binary, work, "m")
    assert result.status == 8 and document["errors"][0]["path"] == "m/pytorch_model.bin", document


def test_what_is_not_looked_into_is_not_clean(binary, work):
    encrypted = bytearray(zip_of([("x.pkl", HARMLESS)], zipfile.ZIP_STORED))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.find(signature) + at] |= 1
    nested_gzip, nested_zip = HARMLESS, zip_of([("x", b"text")], zipfile.ZIP_STORED)
    for _ in range(20):
        nested_gzip, nested_zip = gzip.compress(nested_gzip), zip_of([("x.zip", nested_zip)], zipfile.ZIP_STORED)
    zeros = bytes(1 << 20)
    bombs = {"bomb.pkl.gz": gzip.compress(zeros) * 280, "deep.gz": nested_gzip, "deep.zip": nested_zip}
    unread = {"a.7z": b"7z\xbc\xaf\x27\x1c\0\4", "a.rar": b"Rar!\x1a\x07\1\0", "a.zst": b"\x28\xb5\x2f\xfd\0", "a.joblib": b"\x04\x22\x4d\x18\0",
              "7z.zip": zip_of([("a.7z", b"7z\xbc\xaf\x27\x1c\0\4")]), "14.zip": zip_of([("x.pkl", HARMLESS)], zipfile.ZIP_LZMA),
              "encrypted.zip": bytes(encrypted), "dtype.npy": npy_of("'<q7'", bytes(8))}
    for name, content in {**bombs, **unread}.items():
        (work / name).write_bytes(content)
        result, document = scan(binary, work, name)
        assert result.status == 4, (name, result)
        assert {e["code"] for f in document["files"] for e in f["errors"]} == {"unsupported_format"}, (name, document)


def test_what_is_damaged_is_not_clean(binary, work):
    tar, gz = tar_of([("x.pkl", HARMLESS * 99)]), gzip.compress(bytes(range(256)) * 99 + HARMLESS)
    wrong_crc = bytearray(zip_of([("x.pkl", HARMLESS)]))
    for signature, at in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        wrong_crc[wrong_crc.find(signature) + at] ^= 1
    for name, content, code in (("cut.tar", tar[:1500], "invalid_tar"), ("cut.gz", gz[:200], "invalid_stream"),
                                ("cut.npy", npy_of("'<f8'", bytes(7)), "invalid_npy"), ("cut.zip", zip_of([("x", HARMLESS)])[:-5], "invalid_zip"),
                                ("crc.zip", bytes(wrong_crc), "invalid_zip"), ("cut.pth", old_torch(b"")[:2570], "invalid_tar")):
        (work / name).write_bytes(content)
        result, document = scan(binary, work, name)
        assert result.status == 3, (name, result)
        assert code in {e["code"] for f in document["files"] for e in f["errors"]}, (name, document)


def test_texts_and_files_of_macos_are_no_pickles(binary, work):
    """Texts that begin as zlib's and pickle's bytes do; and the AppleDouble files that lie beside others."""
    for i, line in enumerate(("80 percent\n", "x^2 + y^2\n", "(S. Jackson) wrote\n", "hCard\n", "i\nam\n", "cat\ndog\n", "BZh9 is bzip2\n")):
        (work / f"{i}.txt").write_text(line * 40)
    (work / "._model.pt").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(60))
    (work / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(24))
    (work / "zeros.dat").write_bytes(bytes(3 << 20))
    result, document = scan(binary, work, ".")
    assert result.status == 0 and not document["files"], result
    # What really is a pickle is found, whatever its name.
    (work / "._other.pt").write_bytes(DENIED)
    result, document = scan(binary, work, ".")
    assert result.status == 1 and calls_of(document) == [CALL], result


def test_a_call_before_whatever_ends_a_pickle_is_found(binary, work):
    """Python has made the call by then. Protocol 0, so that nothing but the call tells it from a text."""
    (work / "notes").write_bytes(b"cos\nsystem\n(S'true'\ntR\xff")
    result, document = scan(binary, work, "notes")
    assert result.status == 1 and calls_of(document) == [CALL], result
    tar = tar_of([("cos\nsystem\n(S'true'\ntR.", b"a name that is a pickle")])
    (work / "named.tar").write_bytes(tar)
    result, document = scan(binary, work, "named.tar")
    assert result.status == 1 and calls_of(document) == [CALL], json.dumps(document)
