"""accelerate's reading of memory sizes (`convert_file_size_to_int`).

Makes test/fixtures/units/sizes.json: [string, bytes], with null where Python raises; `errors` tells what it raises
where that is not the documented ValueError. Python's integers have no end: results that no int64 holds are under
`beyond_int64`, as strings. Versions: requirements.txt. Run: python test/oracle/make_sizes.py
"""

from accelerate.utils import convert_file_size_to_int

from common import FIXTURES, write_table

UNITS = ["GiB", "MiB", "KiB", "GB", "MB", "KB", "gib", "mib", "kib", "gb", "mb", "kb", "Gb", "Mb", "Kb", "gB", "mB",
         "kB", "GIB", "MIB", "KIB", "giB", "gIb", "GIb", "TB", "TiB", "B", "b", "", "G", "Gi", "bytes"]
NUMBERS = ["0", "1", "10", "1.5", "20", "0.1", "007", "1e3"]
ODD = ["", " ", "GB", "GiB", " 1GB", "1GB ", "1 GB", "1  MiB", "\t2KiB", "1\nMB", "+1GB", "-1GB", "-0GB", "-0.0GiB",
       "-1GiB", "-0.0001KB", "-1e-9KiB", "1.GB", ".5GB", "1,5GB", "1_000MB", "1__0MB", "_1MB", "0x10MB", "1e3MB",
       "1E3MB", "1e-3GB", "1e400MB", "infGB", "-infGB", "nanGB", "InfinityMiB", "NaNMB", "1.5.5GB", "1GBGB",
       "1GiBGB", "1KGB", "9007199254740993KB", "123456789.123456789GiB", "0.1GB", "0.3GB", "0.7GiB", "1.1KB",
       "1.9999999999KB", "2.675KB", "18446744073709551616KB", "0.0000001GB", "１GB", "1GＢ", "ſGB", "1.GiB",
       "5.0GB", "5.5gb", "7kb", "7Kb", "9KB", "0.001Kb", "15Kb", "100gb", "1gibs", "none", "auto", "1e"]


def main():
    rows, errors, beyond_int64 = [], [], []
    for text in [number + unit for unit in UNITS for number in NUMBERS] + ODD:
        try:
            size = convert_file_size_to_int(text)
            if size < 2**63:
                rows.append([text, size])
            else:
                beyond_int64.append([text, str(size)])
        except Exception as error:
            rows.append([text, None])
            if not str(error).startswith(f"`size` {text} is not in a valid format."):
                errors.append([text, f"{type(error).__name__}: {error}"])
    write_table(FIXTURES / "units" / "sizes.json", "sizes", rows, errors=errors, beyond_int64=beyond_int64)


if __name__ == "__main__":
    main()
