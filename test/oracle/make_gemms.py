"""Matrix products with epilogues, by torch in float64.

Makes test/fixtures/gemms/gemms.json: one case a row, [dtype, epilogue, m, n, k, batch, alpha, beta, pad, values of C in
float64, by batch entry, row, column]. Element i of an operand is `element(seed, i)`, which every dtype holds exactly;
seeds: A 1, B 2, C 3, D 4, bias 5. Rows of A, B, C, D are `pad` elements longer than the matrix and batch entries lie one
after the other, without a gap. Run: python test/oracle/make_gemms.py
"""

import torch
from torch.nn.functional import gelu, silu

from common import FIXTURES, write_table

EPILOGUES = {
    "none": lambda x, bias, d: x,
    "bias": lambda x, bias, d: x + bias,
    "bias_gelu_erf": lambda x, bias, d: gelu(x + bias),
    "bias_gelu_tanh": lambda x, bias, d: gelu(x + bias, approximate="tanh"),
    "bias_silu": lambda x, bias, d: silu(x + bias),
    "gated_silu": lambda x, bias, d: silu(d) * x,
    "gated_gelu": lambda x, bias, d: gelu(d, approximate="tanh") * x,
    "residual": lambda x, bias, d: x + d,
}
SHAPES = [(1, 1, 1, 1, 0), (1, 7, 13, 1, 0), (5, 1, 3, 1, 2), (3, 5, 0, 1, 1), (2, 3, 31, 3, 0), (4, 4, 16, 1, 4),
          (7, 11, 17, 2, 3)]
SCALES = [(1.0, 0.0), (0.5, 0.0), (1.0, 1.0), (-0.25, 0.75)]


def element(seed, index):
    return ((index * 2654435761 + seed * 40503 >> 7) % 129 - 64) / 32


def matrix(seed, batch, rows, columns, pad):
    ld = columns + pad
    values = [[[element(seed, (e * rows + r) * ld + c) for c in range(columns)] for r in range(rows)] for e in range(batch)]
    return torch.tensor(values, dtype=torch.float64).reshape(batch, rows, columns)


def product(epilogue, m, n, k, batch, alpha, beta, pad):
    a, b = matrix(1, batch, m, k, pad), matrix(2, batch, n, k, pad)
    c, d = matrix(3, batch, m, n, pad), matrix(4, batch, m, n, pad)
    bias = matrix(5, 1, 1, n, 0)[0]
    x = alpha * (a @ b.transpose(1, 2)) + (beta * c if beta else 0)
    return EPILOGUES[epilogue](x, bias, d).flatten().tolist()


def main():
    dtypes = ("float32", "float16", "bfloat16")
    rows = []
    for i, epilogue in enumerate(EPILOGUES):
        for j, (m, n, k, batch, pad) in enumerate(SHAPES):
            alpha, beta = SCALES[(i + j) % len(SCALES)]
            dtype = dtypes[(i + 2 * j) % len(dtypes)]
            rows.append([dtype, epilogue, m, n, k, batch, alpha, beta, pad,
                         product(epilogue, m, n, k, batch, alpha, beta, pad)])
    write_table(FIXTURES / "gemms" / "gemms.json", "gemms", rows)


if __name__ == "__main__":
    main()
