"""The checksum of kernels/hash.h, computed from its formula with Python's integers.

Makes test/fixtures/casts/hashes.json: [seed, bytes, hash in hexadecimal] for byte strings of every small length and some
large ones; byte i of a string is (i * 131 + seed * 29 + i // 251) % 256.
Run: python test/oracle/make_hashes.py
"""

from common import FIXTURES, write_table

MASK = 2**64 - 1


def mix(x):
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & MASK
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & MASK
    return x ^ x >> 33


def tensor_hash(data):
    padded = data + bytes(-len(data) % 8)
    total = 0
    for i in range(len(padded) // 8):
        word = int.from_bytes(padded[8 * i : 8 * i + 8], "little")
        total += mix(word + (i + 1) * 0x9E3779B97F4A7C15 & MASK)
    return mix(total + len(data) & MASK)


def string(seed, count):
    return bytes((i * 131 + seed * 29 + i // 251) % 256 for i in range(count))


def main():
    lengths = [*range(0, 70), 4095, 4096, 4097, 65543, 300_001]
    rows = [[seed, count, f"{tensor_hash(string(seed, count)):016x}"] for count in lengths for seed in (0, 7)]
    write_table(FIXTURES / "casts" / "hashes.json", "hashes", rows)


if __name__ == "__main__":
    main()
