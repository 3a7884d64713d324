"""Writes safetensors files by hand, as the format's specification says, so that what they hold is known without hfload."""

import json
import struct

BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "I64": 8}


def element_count(shape):
    count = 1
    for dimension in shape:
        count *= dimension
    return count


def write(path, tensors, metadata=None, sparse=False):
    """`tensors`: list of (name, dtype, shape) or (name, dtype, shape, data). Data that is not given counts up, byte by byte;
    a sparse file holds zeros that take no room."""
    header, offset = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    given = []
    for name, dtype, shape, *data in tensors:
        size = element_count(shape) * BYTES[dtype]
        given += [(offset, part) for part in data]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if sparse:
            file.truncate(8 + len(text) + offset)
        else:
            content = bytearray(i % 251 for i in range(offset))
            for begin, data in given:
                content[begin : begin + len(data)] = data
            file.write(content)


def write_sharded(directory, shards, total_size):
    """`shards`: {file: tensors}; a file with None for its tensors is named by the index and not written."""
    weight_map = {}
    for file, (names, tensors) in shards.items():
        weight_map.update({name: file for name in names})
        if tensors is not None:
            write(directory / file, tensors)
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
