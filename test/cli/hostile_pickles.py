"""Pickles and archives that a reader of PyTorch checkpoints must refuse, made by hand: each class of attack that is known of them.

The payloads that run code run `touch MARKER`: whoever executes one leaves a file behind."""

import io
import pickle
import shutil
import struct
import warnings
import zipfile

MARKER = "executed"
COMMAND = f"touch {MARKER}"
MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # torch.serialization.MAGIC_NUMBER
PROTO = b"\x80\x02"


def text(value):
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def short_text(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def frame(body):
    return b"\x95" + struct.pack("<Q", len(body)) + body


CALL = text(COMMAND) + b"\x85R"
STORAGE = b"(" + text("storage") + name("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04tQ"


def tensor(offset=b"K\x00", shape=b"K\x04\x85", stride=b"K\x01\x85", storage=STORAGE):
    return (name("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + offset + shape + stride + b"\x89"
            + name("collections", "OrderedDict") + b")RtR")


def state_dict(value=None, key="w"):
    return PROTO + b"}" + text(key) + (tensor() if value is None else value) + b"s."


def long(value):
    return b"\x8a\x09" + struct.pack("<Q", value) + b"\x00"


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def laughs(levels):
    """Lists of ten references each to the list before."""
    body = b"(]q\x01" + text("lol") + b"a"
    for level in range(1, levels + 1):
        body += b"](" + bytes([ord("h"), level]) * 10 + b"eq" + bytes([level + 1])
    return body + b"t"


# Run code in Python: (name, pickle); `unsafe_pickle`, and a denied name in `hfload scan`.
EXECUTING = [
    ("REDUCE of os.system", PROTO + name("os", "system") + CALL + b"."),
    ("REDUCE of posix.system", PROTO + name("posix", "system") + CALL + b"."),
    ("protocol 0", f"cos\nsystem\n(V{COMMAND}\ntR.".encode()),
    ("INST", f"(V{COMMAND}\nios\nsystem\n.".encode()),
    ("OBJ", b"(" + name("os", "system") + text(COMMAND) + b"o."),
    ("STACK_GLOBAL", b"\x80\x04" + short_text("os") + short_text("system") + b"\x93" + CALL + b"."),
    ("STACK_GLOBAL through the memo", b"\x80\x04" + short_text("os") + b"\x940" + short_text("system") + b"\x940h\x00h\x01\x93" + CALL + b"."),
    ("STACK_GLOBAL through DUP", b"\x80\x04" + short_text("os") + b"20" + short_text("system") + b"\x93" + CALL + b"."),
    ("STACK_GLOBAL over a mark", b"\x80\x04" + short_text("os") + b"(N1" + short_text("system") + b"\x93" + CALL + b"."),
    ("in frames", b"\x80\x04" + frame(short_text("os") + short_text("system") + b"\x93" + CALL + b".")),
    ("builtins.eval", PROTO + name("builtins", "eval") + text(f"__import__('os').system('{COMMAND}')") + b"\x85R."),
    ("builtins.exec", PROTO + name("builtins", "exec") + text(f"import os; os.system('{COMMAND}')") + b"\x85R."),
    ("__builtin__.eval", PROTO + name("__builtin__", "eval") + text(f"__import__('os').system('{COMMAND}')") + b"\x85R."),
    ("getattr of a module", PROTO + name("builtins", "getattr") + name("builtins", "__import__") + text("os") + b"\x85R"
     + text("system") + b"\x86R" + CALL + b"."),
    ("subprocess.getoutput", PROTO + name("subprocess", "getoutput") + CALL + b"."),
    ("runpy", PROTO + name("runpy", "_run_code") + name("builtins", "compile") + text(f"import os; os.system('{COMMAND}')")
     + text("x") + text("exec") + b"\x87R}\x86R."),
    ("REDUCE of a Popen", PROTO + name("subprocess", "Popen") + b"(" + text("touch") + text(MARKER) + b"l\x85R."),
    ("nested in a value", state_dict(name("os", "system") + CALL)),
    ("in a key", PROTO + b"}" + name("os", "system") + CALL + tensor() + b"s."),
    ("in a tensor's storage", state_dict(tensor(storage=name("os", "system") + CALL))),
    ("in a tensor's hooks", state_dict(tensor(shape=name("os", "system") + CALL + b"0K\x04\x85"))),
    ("before a good state dict", PROTO + name("os", "system") + CALL + b"0" + state_dict()[2:]),
    ("in another pickle", PROTO + name("pickle", "loads") + b"C" + bytes([len(f"cos\nsystem\n(V{COMMAND}\ntR.")])
     + f"cos\nsystem\n(V{COMMAND}\ntR.".encode() + b"\x85R."),
    ("broken after the call", PROTO + name("os", "system") + CALL + b"\xff"),
    ("cut off after the call", PROTO + name("os", "system") + CALL),
    ("the pickle module's own", pickle.dumps(Call(eval, f"__import__('os').system('{COMMAND}')"), 4)),
    ("operator.methodcaller", PROTO + name("operator", "methodcaller") + text("system") + text(COMMAND) + b"\x86R"
     + name("builtins", "__import__") + text("os") + b"\x85R\x85R."),
    ("functools.partial", PROTO + name("functools", "partial") + name("os", "system") + text(COMMAND) + b"\x86R)R."),
]

# Name what no weights need, whether or not it runs by itself.
DENIED = [
    ("torch.hub.load", PROTO + name("torch.hub", "load") + text("x/y") + b"\x85R."),
    ("torch.load by a storage", PROTO + name("torch.storage", "_load_from_bytes") + b"C\x01x\x85R."),
    ("torch.jit", PROTO + name("torch.jit", "load") + b")R."),
    ("numpy.load", PROTO + name("numpy", "load") + text("x") + b"\x85R."),
    ("a dotted name", b"\x80\x04" + short_text("torch") + short_text("Size.__reduce__") + b"\x93)R."),
    ("a name with a space", PROTO + name("torch._utils", "_rebuild_tensor_v2 ") + b")R."),
    ("a name with a carriage return", PROTO + name("torch._utils\r", "_rebuild_tensor_v2") + b")R."),
    ("a look-alike", PROTO + "ctorch._utils\n_rebuild_tensor_v\u0662\n)R.".encode()),
    ("a class of Python", PROTO + name("collections", "deque") + b")R."),
    ("copyreg", PROTO + name("copyreg", "_reconstructor") + b")R."),
    ("EXT1", PROTO + b"\x82\x01)R."),
    ("EXT2", PROTO + b"\x83\x01\x02)R."),
    ("EXT4", PROTO + b"\x84\x01\x02\x03\x04)R."),
    ("NEWOBJ of a Popen", PROTO + name("subprocess", "Popen") + b")\x81."),
    ("NEWOBJ_EX of a Popen", b"\x80\x04" + name("subprocess", "Popen") + b")}\x92."),
    ("a computed name", b"\x80\x04" + short_text("torch") + name("torch", "Size") + b")R\x93)R."),
]

# Abuse of what is allowed: (name, pickle, codes).
ABUSES = [
    ("BINPERSID of a string", PROTO + text("storage") + b"Q.", {"unsafe_pickle"}),
    ("BINPERSID of a module", PROTO + b"(" + text("module") + b"N" + text("x.py") + text("code") + b"tQ.", {"unsafe_pickle"}),
    ("PERSID", PROTO + b"Pstorage\n.", {"unsafe_pickle"}),
    ("storage without fields", state_dict(tensor(storage=b"(" + text("storage") + b"tQ")), {"invalid_tensor_entry"}),
    ("storage of a path", state_dict(tensor(storage=STORAGE.replace(text("0"), text("../../etc/passwd")))), {"invalid_storage"}),
    ("storage that is absent", state_dict(tensor(storage=STORAGE.replace(text("0"), text("1")))), {"invalid_storage"}),
    ("storage too large", state_dict(tensor(storage=STORAGE.replace(b"K\x04t", b"J\xff\xff\xff\x7ft"))), {"invalid_storage"}),
    ("storage of 2^64 bytes", state_dict(tensor(storage=STORAGE.replace(b"K\x04t", long(2**62) + b"t"))),
     {"shape_overflow", "invalid_tensor_entry"}),
    ("SETITEM on a tuple", PROTO + b")K\x01K\x02s.", {"invalid_pickle"}),
    ("SETITEM on a tensor", state_dict(tensor() + b"K\x01K\x02s"), {"invalid_pickle"}),
    ("SETITEMS on a list", PROTO + b"](K\x01K\x02u.", {"invalid_pickle"}),
    ("APPEND to a dict", PROTO + b"}K\x01a.", {"invalid_pickle"}),
    ("BUILD of a tensor", state_dict(tensor() + b"}b"), {"invalid_tensor_entry"}),
    ("BUILD of a list", PROTO + b"]}b.", {"invalid_pickle"}),
    ("NEWOBJ of a tensor", state_dict(name("torch", "Tensor") + b")\x81"), {"unsafe_pickle"}),
    ("a call of a value", PROTO + text("x") + b")R.", {"unsafe_pickle"}),
    ("a list in itself", PROTO + b"]q\x01h\x01a.", {"invalid_pickle"}),
    ("a dict in itself", PROTO + b"}q\x01" + text("w") + b"h\x01s.", {"invalid_pickle"}),
    ("a cycle of two", PROTO + b"}q\x01" + text("w") + b"]q\x02h\x01as.", {"invalid_pickle"}),
    ("10,000 lists in one another", PROTO + b"]" * 10000 + b"a" * 9999 + b".", {"invalid_pickle"}),
    ("10,000 tuples in one another", PROTO + b")" + b"\x85" * 10000 + b".", {"invalid_pickle"}),
    ("10,000 marks", PROTO + b"(" * 10000 + b"t" * 10000 + b".", {"invalid_pickle"}),
    ("a billion laughs", PROTO + laughs(9) + b".", {"invalid_pickle"}),
    ("a memo place of 2^32-1", PROTO + b"}r\xff\xff\xff\xff.", {"invalid_pickle"}),
    ("a memo place that is empty", PROTO + b"h\x07.", {"invalid_pickle"}),
    ("a string of 4 GiB", PROTO + b"X\xff\xff\xff\xffabc.", {"invalid_pickle"}),
    ("a string of 2^64-1 bytes", b"\x80\x04\x8d" + b"\xff" * 8 + b"abc.", {"invalid_pickle"}),
    ("bytes of 2^63-1", b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc.", {"invalid_pickle"}),
    ("a bytearray of 2^63-1", b"\x80\x05\x96" + b"\xff" * 7 + b"\x7fabc.", {"invalid_pickle"}),
    ("LONG4 of 2^31-1", PROTO + b"\x8b\xff\xff\xff\x7fabc.", {"invalid_pickle", "unsafe_pickle"}),
    ("an opcode over the frame's end", b"\x80\x04" + frame(short_text("abcd")[:4]) + b"cd.", {"invalid_pickle"}),
    ("a frame beyond the end", b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b"N.", {"invalid_pickle"}),
    ("a frame in a frame", b"\x80\x04" + frame(frame(b"N") + b"."), {"invalid_pickle"}),
    ("two PROTO", PROTO + PROTO + b"N.", {"invalid_pickle"}),
    ("no STOP", PROTO + b"}", {"invalid_pickle"}),
    ("an empty pickle", b"", {"invalid_pickle"}),
    ("names that occur twice", PROTO + b"}(" + (text("w") + tensor()) * 2 + b"u.", {"duplicate_key"}),
    ("a negative offset", state_dict(tensor(offset=b"J\xff\xff\xff\xff")), {"invalid_tensor_entry"}),
    ("an offset at the end", state_dict(tensor(offset=b"K\x01")), {"storage_overrun"}),
    ("an offset of 2^63-1", state_dict(tensor(offset=b"\x8a\x08" + b"\xff" * 7 + b"\x7f")), {"storage_overrun"}),
    ("a shape of 2^32 by 2^32", state_dict(tensor(shape=(b"\x8a\x05\x00\x00\x00\x00\x01" * 2) + b"\x86", stride=b"K\x00K\x00\x86")),
     {"shape_overflow"}),
    ("a stride of 2^63-1", state_dict(tensor(shape=b"K\x03K\x03\x86", stride=(b"\x8a\x08" + b"\xff" * 7 + b"\x7f") * 2 + b"\x86")),
     {"storage_overrun"}),
    ("one element a petabyte large", state_dict(tensor(shape=b"\x8a\x07\x00\x00\x00\x00\x00\x00\x04\x85", stride=b"K\x00\x85")),
     {"tensor_too_large"}),
    ("100 dimensions", state_dict(tensor(shape=b"(" + b"K\x01" * 100 + b"t", stride=b"(" + b"K\x01" * 100 + b"t")), {"invalid_tensor_entry"}),
]


def archive(data_pickle, storage=bytes(16), others=()):
    """As torch.save writes, as far as readers look."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a name that occurs twice
        for member, data in [("a/data.pkl", data_pickle), ("a/byteorder", b"little"), ("a/data/0", storage), ("a/version", b"3\n"), *others]:
            file.writestr(zipfile.ZipInfo(member), data)
    return out.getvalue()


def legacy(object_pickle, storage=bytes(16)):
    keys = PROTO + b"]" + text("0") + b"a."
    return MAGIC + PROTO + b"M\xe9\x03." + PROTO + b"}." + object_pickle + keys + struct.pack("<q", len(storage) // 4) + storage


def patched(data, offset, value):
    return data[:offset] + value + data[offset + len(value):]


def zip_attacks():
    """(name, archive, codes); all around a state dict that is good."""
    good = archive(state_dict())
    end = len(good) - 22
    directory = struct.unpack_from("<I", good, end + 16)[0]
    with zipfile.ZipFile(io.BytesIO(good)) as file:
        local = {m.filename: m.header_offset for m in file.infolist()}
    central, at = {}, directory
    while at < end:
        size, extra, comment = struct.unpack_from("<HHH", good, at + 28)
        central[good[at + 46 : at + 46 + size].decode()] = at
        at += 46 + size + extra + comment
    pkl, storage = "a/data.pkl", "a/data/0"
    data_at = local[pkl] + 30 + len(pkl)
    yield "good", good, set()
    yield "deflated", deflated(state_dict()), {"invalid_storage"}
    yield "42.zip style", deflated(bytes(1 << 20)), {"invalid_pickle"}
    yield "42.zip style, of another size", deflated(bytes(1 << 20), b"\x01\x00\x10\x00"), {"invalid_zip"}
    for label, where in (("directory", central[pkl] + 8), ("both", central[pkl] + 8)):
        flags = patched(good, where, b"\x01\x00")
        yield f"encrypted by the {label}", flags if label == "directory" else patched(flags, local[pkl] + 6, b"\x01\x00"), {"unsupported_format"}
    yield "encrypted by the local header", patched(good, local[pkl] + 6, b"\x01\x00"), {"invalid_zip"}
    yield "patched-data flag", patched(good, central[pkl] + 8, b"\x20\x00"), {"invalid_zip"}
    yield "masked headers", patched(good, central[pkl] + 8, b"\x00\x20"), {"unsupported_format"}
    yield "directory's checksum", patched(good, central[pkl] + 16, bytes(4)), {"invalid_zip"}
    yield "local checksum", patched(good, local[pkl] + 14, bytes(4)), {"invalid_zip"}
    yield "both checksums", patched(patched(good, local[pkl] + 14, bytes(4)), central[pkl] + 16, bytes(4)), {"invalid_zip"}
    yield "another pickle of the same checksum's place", patched(good, data_at + 4, b"Y"), {"invalid_zip", "invalid_pickle"}
    yield "another local name", patched(good, local[pkl] + 30, b"b"), {"invalid_zip"}
    yield "another local size", patched(good, local[pkl] + 22, b"\x01"), {"invalid_zip"}
    yield "overlapping members", patched(good, central[storage] + 42, struct.pack("<I", local[pkl])), {"invalid_zip"}
    yield "a member in the directory", patched(good, central[storage] + 42, struct.pack("<I", directory)), {"invalid_zip"}
    yield "a member beyond the file", patched(good, central[storage] + 42, b"\xf0\xff\xff\xff"), {"invalid_zip"}
    yield "zip64 sizes without a field", patched(good, central[storage] + 24, b"\xff" * 4), {"invalid_zip"}
    yield "zip64 end without a record", patched(good, end + 16, b"\xff" * 4), {"invalid_zip"}
    yield "zip64 locator to nowhere", good[:end] + b"PK\x06\x07" + struct.pack("<IQI", 0, 2**64 - 1, 1) + good[end:], {"invalid_zip"}
    wide = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2**63, 2**63, 2**63, 2**63)
    yield "zip64 counts of 2^63", (good[:end] + b"PK\x06\x06" + wide + b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
                                  + patched(good[end:], 8, b"\xff" * 12)), {"invalid_zip"}
    yield "several disks", patched(good, end + 4, b"\x01\x00"), {"unsupported_format"}
    yield "a comment", patched(good, end + 20, b"\x03\x00") + b"abc", set()
    yield "a comment of 65,535 bytes", patched(good, end + 20, b"\xff\xff") + bytes(65535), set()
    yield "another end record in the comment", patched(good, end + 20, b"\x16\x00") + good[end:], {"invalid_zip"}
    yield "a second archive behind", good + good, {"invalid_zip"}
    yield "bytes in front", b"PK\x03\x04" + good, {"invalid_zip"}
    yield "bytes behind", good + b"\x00", set()
    yield "bytes behind, and another end record", good + b"\x00" + good[end:], {"invalid_zip"}
    yield "two members of one name", archive(state_dict(), others=[("a/data.pkl", state_dict())]), {"invalid_zip"}
    yield "two pickles", archive(state_dict(), others=[("b/data.pkl", state_dict())]), {"invalid_zip"}
    for member in ("../x", "a/../../x", "/etc/x", "a\\x", "a//x", "./x"):
        yield f"a member {member}", archive(state_dict(), others=[(member, b"x")]), {"invalid_zip"}
    yield "another byte order", archive(state_dict()).replace(b"little", b"middle"), {"invalid_zip"}
    yield "a name of 65,535 bytes", archive(state_dict(), others=[("n" * 65535, b"")]), {"invalid_zip"}


def deflated(data_pickle, size=None):
    """`size`: four bytes that both headers give as the size of the member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("a/data.pkl"), data_pickle, zipfile.ZIP_DEFLATED)
    data = out.getvalue()
    if size is None:
        return data
    return patched(patched(data, 22, size), data.index(b"PK\x01\x02") + 24, size)


def write_many(path, count):
    """An archive of so many empty members, written piece by piece: neither zipfile nor this process's memory is made for it."""
    with open(path, "wb") as file, open(f"{path}.directory", "wb+") as directory:
        for i in range(count):
            member = f"a/data/{i}".encode()
            fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, 0, 0, 0, len(member), 0)
            directory.write(b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, file.tell()) + member)
            file.write(b"PK\x03\x04" + fields + member)
        offset, size = file.tell(), directory.tell()
        directory.seek(0)
        shutil.copyfileobj(directory, file)
        end = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, offset)
        file.write(b"PK\x06\x06" + end + b"PK\x06\x07" + struct.pack("<IQI", 0, offset + size, 1) + b"PK\x05\x06"
                   + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, size, offset, 0))
