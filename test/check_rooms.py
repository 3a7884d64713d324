"""Checks that no room includes one that stands above it (docs/architecture.md). A linker misses what is only in headers."""

import pathlib
import re
import sys

MAY_INCLUDE = {
    "core/base": [],
    "core/format": ["core/base"],
    "core/model": ["core/base", "core/format"],
    "core/plan": ["core/base", "core/format", "core/model"],
    "core/load": ["core/base", "core/format", "core/model", "core/plan", "kernels"],
    "core/save": ["core/base", "core/format", "core/model", "kernels"],
    "core/check": ["core/base", "core/format", "core/model", "core/save", "kernels"],
    "core/run": ["core/base", "core/format", "core/model", "core/plan", "core/load", "kernels"],
    "kernels": [],
    "cli": ["core/run", "core/base", "core/format", "core/model", "core/plan", "core/load", "core/save", "core/check"],
}
PACKAGES = {"simdjson": ["core/format"], "CLI": ["cli"], "spdlog": ["cli"], "oneapi": ["core/run"]}


def faults(root):
    for room, allowed in MAY_INCLUDE.items():
        for file in sorted((root / room).rglob("*")):
            if file.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
                continue
            for target in re.findall(r'^#include [<"]([^>"]+)[>"]', file.read_text(), re.MULTILINE):
                owner = next((r for r in MAY_INCLUDE if target.startswith(r + "/")), None)
                if owner not in (None, room, *allowed):
                    yield f"{file.relative_to(root)} includes {target}, which is above {room}"
                package = re.split(r"[/.]", target)[0]
                if room not in PACKAGES.get(package, [room]):
                    yield f"{file.relative_to(root)} includes {target}, which only {PACKAGES[package]} may use"


if __name__ == "__main__":
    found = list(faults(pathlib.Path(sys.argv[1])))
    print("\n".join(found) or "all includes point downwards")
    sys.exit(bool(found))
