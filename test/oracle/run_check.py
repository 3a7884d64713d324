"""Runs one of the checks here by the oracle's interpreter: run_check.py PYTHON SCRIPT [ARGUMENT...]

The interpreter is the one that HFLOAD_ORACLE_PYTHON names, else PYTHON, which may be empty. Exits with the script's status; with
77, which CTest takes as skipped, where there is none or it lacks the packages.
"""

import os
import subprocess
import sys

SKIPPED = 77


def skip(why):
    print(f"skipped: {why}. Set HFLOAD_ORACLE_PYTHON to a Python with the packages of test/oracle/requirements.txt.")
    sys.exit(SKIPPED)


def main():
    python = os.environ.get("HFLOAD_ORACLE_PYTHON") or sys.argv[1]
    if not python:
        skip("no interpreter is given")
    packages = "import sys, accelerate, transformers, safetensors, torch; print(sys.version.split()[0], accelerate.__version__, transformers.__version__)"
    try:
        found = subprocess.run([python, "-c", packages], capture_output=True, text=True, check=False)
    except OSError as error:
        skip(f"{python} does not run: {error.strerror}")
    if found.returncode != 0:
        skip(f"{python} lacks a package: {(found.stderr.strip().splitlines() or ['?'])[-1]}")
    print("Python {}, accelerate {}, transformers {}".format(*found.stdout.split()), flush=True)
    sys.exit(subprocess.run([python, "-B", *sys.argv[2:]], check=False).returncode)


if __name__ == "__main__":
    main()
