"""Runs the built program against the cases of one topic: cases/TOPIC.toml, or the functions test_* of scenarios/TOPIC.py.

    run_cli_tests.py HFLOAD TOPIC [--update]

A case of a .toml file:
    name, args        required; {fixtures} and {work}, the case's own directory, are replaced in them
    setup             a function of setups.py that makes a model in {work}
    exit              exit status, 0 unless given
    stdout            exact; or stdout_matches: regular expressions that must all be found
    map               standard output, read by ast.literal_eval, equals this table
    json, schema      standard output is one JSON document that holds these values, with {work} in them, and fits schemas/NAME.json
    stderr            regular expressions that must all be found; without it, standard error must be empty. {work} is the directory
    env               environment variables
    on                "terminal", "/dev/full", "closed pipe", "closed"
--update writes what the program printed into the cases that have an exact stdout. Never use it for numbers or maps: those come from
the contract, from Python, or from paper."""

import ast
import importlib
import json
import os
import pathlib
import re
import sys
import tempfile
import tomllib
import traceback

import running
import schema
import setups

CASE_KEYS = {"name", "args", "setup", "exit", "stdout", "stdout_matches", "map", "json", "schema", "stderr", "env", "on"}


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def check_subset(actual, expected, where="document"):
    """Tables are compared key by key, so that a case names only what it is about; everything else must be equal."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            check(key in actual, f"{where} lacks {key}")
            check_subset(actual[key], value, f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list):
        check(len(actual) == len(expected), f"{where} has {len(actual)} members, expected {len(expected)}")
        for i, (one, other) in enumerate(zip(actual, expected)):
            check_subset(one, other, f"{where}[{i}]")
    else:
        check(actual == expected, f"{where} is {actual!r}, expected {expected!r}")


def one_json_document(text):
    def without_duplicates(pairs):
        check(len(dict(pairs)) == len(pairs), f"a key occurs twice in {[k for k, _ in pairs]}")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=without_duplicates)


def check_schema(text, name):
    document = one_json_document(text)
    found = list(schema.faults(document, json.loads((running.SCHEMAS / f"{name}.json").read_text())))
    check(not found, "\n".join(found))
    return document


def run_case(binary, case, work):
    fill = lambda text: text.replace("{fixtures}", str(running.FIXTURES)).replace("{work}", str(work))
    arguments, env = [fill(a) for a in case["args"]], {k: fill(v) for k, v in case.get("env", {}).items()}
    match case.get("on", "pipe"):
        case "terminal":
            return running.run_on_terminal(binary, arguments, work, env)
        case "closed pipe":
            return running.run_into_closed_pipe(binary, arguments, work, env)
        case "/dev/full":
            with open("/dev/full", "wb") as full:
                return running.run(binary, arguments, work, env, stdout=full)
        case "closed":
            command = ["-c", 'exec "$@" >&-', "sh", binary, *arguments]
            return running.run("/bin/sh", command, work, env)
        case "pipe":
            return running.run(binary, arguments, work, env)


def filled(value, work):
    """{work} in the texts of a JSON value."""
    if isinstance(value, dict):
        return {k: filled(v, work) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v, work) for v in value]
    return value.replace("{work}", str(work)) if isinstance(value, str) else value


def check_case(case, result, work):
    check(result.status == case.get("exit", 0), f"exit status {result.status}, expected {case.get('exit', 0)}")
    if "stdout" in case:
        check(result.stdout == case["stdout"], f"expected standard output:\n{case['stdout']}")
    for pattern in case.get("stdout_matches", []):
        check(re.search(pattern, result.stdout, re.MULTILINE), f"standard output has no {pattern!r}")
    if "map" in case:
        check(ast.literal_eval(result.stdout) == case["map"], f"expected the map {case['map']}")
    if "schema" in case:
        check_schema(result.stdout, case["schema"])
    if "json" in case:
        check_subset(one_json_document(result.stdout), filled(case["json"], work))
    if "stderr" not in case:
        check(result.stderr == "", "standard error should be empty")
    for pattern in (p.replace("{work}", re.escape(str(work))) for p in case.get("stderr", [])):
        check(re.search(pattern, result.stderr, re.MULTILINE), f"standard error has no {pattern!r}")
    exact = {"stdout", "stdout_matches", "map", "json", "schema"} & set(case)
    check(exact or result.stdout == "" or case.get("on"), "the case does not say what standard output is")


def update_case(path, case, result):
    """Replaces the case's exact standard output in the file, which holds it as a ''' text."""
    text = path.read_text()
    block = text.index(f'name = "{case["name"]}"')
    begin = text.index("stdout = '''\n", block) + len("stdout = '''\n")
    path.write_text(text[:begin] + result.stdout + text[text.index("'''", begin) :])


def run_cases(binary, path, update):
    failures = skipped = 0
    cases = tomllib.loads(path.read_text())["case"]
    names = [case["name"] for case in cases]
    assert len(set(names)) == len(names), "two cases have one name"
    for case in cases:
        assert set(case) <= CASE_KEYS, f"{case['name']}: unknown keys {set(case) - CASE_KEYS}"
        with tempfile.TemporaryDirectory() as directory:
            work = pathlib.Path(directory).resolve()
            if "setup" in case:
                getattr(setups, case["setup"])(work)
            try:
                result = run_case(binary, case, work)
            except running.NoTerminal as reason:
                skipped += 1
                print(f"skipped {case['name']}: {reason}")
                continue
            if update and "stdout" in case and result.stdout != case["stdout"]:
                update_case(path, case, result)
                continue
            try:
                check_case(case, result, work)
            except (AssertionError, ValueError, SyntaxError) as fault:
                failures += 1
                print(f"FAILED {case['name']}: {fault}\n  hfload {' '.join(case['args'])}\n  exit status: {result.status}\n"
                      f"  stdout: {result.stdout[:2000]!r}\n  stderr: {result.stderr[:2000]!r}")
    print(f"{len(cases) - failures - skipped} of {len(cases)} cases passed, {skipped} skipped")
    return failures


def run_scenarios(binary, topic):
    module = importlib.import_module(f"scenarios.{topic}")
    tests = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    failures = skipped = 0
    for name, test in tests.items():
        with tempfile.TemporaryDirectory() as directory:
            try:
                test(binary, pathlib.Path(directory).resolve())
            except running.NoTerminal as reason:
                skipped += 1
                print(f"skipped {name}: {reason}")
            except AssertionError:
                failures += 1
                print(f"FAILED {name}\n{traceback.format_exc()}")
    print(f"{len(tests) - failures - skipped} of {len(tests)} scenarios passed, {skipped} skipped")
    return failures


def main():
    binary, topic = os.path.abspath(sys.argv[1]), sys.argv[2]
    path = running.HERE / "cases" / f"{topic}.toml"
    failures = run_cases(binary, path, "--update" in sys.argv) if path.exists() else run_scenarios(binary, topic)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
