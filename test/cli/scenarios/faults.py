"""A conversion that is killed, or whose system calls fail, leaves the old state or the complete new one.

One checker asserts the invariants after every fault:
  I1 the input is unchanged;
  I2 the destination is absent, old, or new and complete, as a reader sees it who starts at the index or the only weight file;
  I3 exit status 0 means that it is new and complete;
  I4 any other means one error with its code and a hint on standard error;
  I5 nothing else has changed, and what is left over is called .*hfload-*; after an error that was reported, only where the message says
     how to go on;
  I6 standard output holds the line of the conversion or nothing;
and the same command without faults then succeeds and leaves nothing over.
HFLOAD_FAULTS=all runs every system call with every fault, and 500 random moments; else a part that takes less than a minute."""

import concurrent.futures
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import time

import running
import safetensors_writer
import setups

THOROUGH = os.environ.get("HFLOAD_FAULTS") == "all"
WRITES = "write,pwrite,copy_file_range,fsync,ftruncate,fallocate,rename,unlink,mkdir"
ALL_CALLS = WRITES + ",pread,open,close"
# What fails without being said, would be taken for done.
NEVER_IGNORED = {"write", "pwrite", "fsync", "ftruncate", "fallocate", "rename", "mkdir", "pread"}
ENTRY_POINTS = {"model.safetensors", "model.safetensors.index.json", "out.safetensors"}
TENSORS = [("model.embed_tokens.weight", "F32", [16, 8]), ("a", "F32", [64]), ("b", "F32", [200]), ("c", "I64", [30]), ("d", "F16", [40])]
SHARDS = ["--max-shard-size", "600"]
FLAGS = ["--dtype", "bfloat16", "--threads", "1"]


def tree(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}


def is_leftover(name):
    return any(".hfload-" in part or part.startswith(".hfload-") for part in name.split("/"))


class Scenario:
    """A conversion and what its destination may hold. `prepare` makes the old state in a directory of its own."""

    def __init__(self, name, destination, flags, prepare):
        self.name, self.destination, self.prepare = name, destination, prepare
        self.arguments = ["convert", "src", destination, *([] if destination.endswith(".safetensors") else SHARDS), *FLAGS, *flags]
        self.new = None  # the tree of an undisturbed run

    def make(self, work):
        work.mkdir(parents=True)
        (work / "src").mkdir()
        safetensors_writer.write(work / "src" / "model.safetensors", TENSORS)
        (work / "src" / "config.json").write_text('{"dtype": "float32"}')
        (work / "src" / "tokenizer.json").write_text("{}" * 500)
        self.prepare(work)
        return tree(work)


def old_set(work):
    """Other shards, more of them, a file that is not the model's, and a stale index."""
    (work / "dst").mkdir()
    shards = {f"model-0000{i}-of-00004.safetensors": ([f"old{i}"], [(f"old{i}", "F32", [9])]) for i in range(1, 5)}
    safetensors_writer.write_sharded(work / "dst", shards, 36 * 4)
    (work / "dst" / "config.json").write_text('{"old": true}')
    (work / "dst" / "notes.txt").write_text("mine")


def old_file(work):
    safetensors_writer.write(work / "out.safetensors", [("old", "F32", [9])])


SCENARIOS = [
    Scenario("new directory", "dst", [], lambda work: None),
    Scenario("existing set", "dst", ["--force"], old_set),
    Scenario("existing file", "out.safetensors", ["--force"], old_file),
]


def faulty(binary, scenario, work, calls, at, action, count=None):
    env = {"LD_PRELOAD": os.environ["HFLOAD_FAULT_SHIM"], "HFLOAD_FAULT_CALLS": calls, "HFLOAD_FAULT_AT": str(at),
           "HFLOAD_FAULT_ACTION": action}
    if count:
        env["HFLOAD_FAULT_COUNT"] = str(count)
    return running.run(binary, scenario.arguments, work, env)


def undisturbed(binary, scenario, work, calls):
    """The number of calls; remembers what the new state is."""
    scenario.prepared = scenario.make(work)
    result = faulty(binary, scenario, work, calls, 0, "kill", work.parent / "calls")
    assert result.status == 0, result
    scenario.new = tree(work)
    shutil.rmtree(work)
    return int((work.parent / "calls").read_text())


def seen(state):
    return {name: value for name, value in state.items() if not is_leftover(name)}


def check(binary, scenario, work, old, result, what):
    where = f"{scenario.name}, {what}: {result}"
    state = tree(work)
    visible = seen(state)
    for name, value in old.items():
        assert not name.startswith("src/") or state.get(name) == value, f"I1: {name} changed; {where}"
    assert {n for n in visible if n.startswith("src/")} == {n for n in old if n.startswith("src/")}, f"I1; {where}"
    is_new = visible == scenario.new
    # After the commit point, files that only the old set had may be there until the journal is gone.
    is_committed = scenario.new.items() <= visible.items()
    leftovers = sorted(set(state) - set(visible))
    journal = any(n.endswith(".hfload-journal") for n in leftovers)
    if not is_committed and visible != old:
        entry = [n for n in visible if n.split("/")[-1] in ENTRY_POINTS and not n.startswith("src/")]
        assert not entry, f"I2: neither old nor new, with {entry}; {where}"
    assert is_new or visible == old or journal, f"I2: neither old nor new, and no journal; {where}"
    if result.status == 0:
        assert is_new and not leftovers, f"I3; {where}; {leftovers}"
        assert re.fullmatch(r"converted src to \S+: \d+ files?, [0-9.]+ KiB\n", result.stdout), f"I6; {where}"
    else:
        assert result.stdout == "", f"I6; {where}"
        if result.status > 0:
            errors = re.findall(r"^error: .+ \[[a-z_]+\]$", result.stderr, re.MULTILINE)
            hints = re.findall(r"^hint: ", result.stderr, re.MULTILINE)
            assert len(errors) == 1 and len(hints) == 1 and result.status == 5, f"I4; {where}"
            assert not leftovers or journal or "unlink" in what or what.startswith("EIO+"), f"I5: {leftovers}; {where}"
    unexpected = set(visible) - set(old) - set(scenario.new)
    assert not unexpected, f"I5: {unexpected}; {where}"

    again = running.run(binary, scenario.arguments, work)
    assert again.status == 0, f"rerun: {again}; {where}"
    state = tree(work)
    assert seen(state) == scenario.new, f"rerun; {where}"
    assert set(state) == set(seen(state)), f"rerun left {set(state) - set(seen(state))}; {where}"


def run_faults(binary, work, rows):
    """Rows: (scenario, calls, number of the call, action, what the exit status must be or None)."""

    def one(numbered):
        number, (scenario, calls, at, action, status) = numbered
        directory = work / str(number)
        old = scenario.make(directory)
        result = faulty(binary, scenario, directory, calls, at, action)
        what = f"{action} at call {at} of {calls}"
        assert status is None or result.status == status, f"{scenario.name}, {what}: {result}"
        check(binary, scenario, directory, old, result, what)
        shutil.rmtree(directory)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(one, enumerate(rows)))


def cannot_preload(binary):
    if not os.environ.get("HFLOAD_FAULT_SHIM"):
        print("skipped: HFLOAD_FAULT_SHIM does not name the shim")
        return True
    return running.is_sanitized(binary)


def test_killed_at_every_writing_call(binary, work):
    if cannot_preload(binary):
        return
    rows = []
    for scenario in SCENARIOS:
        total = undisturbed(binary, scenario, work / "count", WRITES)
        assert total >= 8, total
        rows += [(scenario, WRITES, at, "kill", -signal.SIGKILL) for at in range(1, total + 1)]
        rows += [(scenario, "pwrite,copy_file_range", at, "tear", None) for at in range(1, total + 1, 1 if THOROUGH else 3)]
    run_faults(binary, work, rows)


def test_interrupted_and_short_calls_are_repeated(binary, work):
    if cannot_preload(binary):
        return
    rows = []
    for scenario in SCENARIOS:
        for action, calls in [("EINTR", ALL_CALLS), ("short", "write,pwrite,copy_file_range,pread")]:
            total = undisturbed(binary, scenario, work / "count", calls)
            rows += [(scenario, calls, at, action, 0) for at in range(1, total + 1, 1 if THOROUGH else 4)]
    run_faults(binary, work, rows)


def test_failing_calls(binary, work):
    if cannot_preload(binary):
        return
    rows = []
    for scenario in SCENARIOS:
        for call in ALL_CALLS.split(","):
            total = undisturbed(binary, scenario, work / "count", call)
            step = 1 if THOROUGH or total <= 4 else total // 4
            for action in ["EIO", "ENOSPC", "EIO+"] if THOROUGH else ["EIO"]:
                rows += [(scenario, call, at, action, 5 if call in NEVER_IGNORED else None) for at in range(1, total + 1, step)]
            if call == "fsync":
                # Every file, and every directory that has a new name in it.
                assert total >= len(scenario.new) - len(scenario.prepared) + 1, (scenario.name, total)
        total = undisturbed(binary, scenario, work / "count", WRITES)
        full = "write,pwrite,copy_file_range,fallocate,mkdir"
        rows += [(scenario, full, at, "ENOSPC+", None) for at in range(1, total + 1, 1 if THOROUGH else 4)]
    run_faults(binary, work, rows)


def larger_source(work, megabytes):
    """Enough bytes that a conversion takes some time; every tenth kibibyte is not zero."""
    header_free = megabytes * 2**20 // 4
    safetensors_writer.write(work / "src" / "model.safetensors", [(f"t{i}", "F32", [header_free // 4]) for i in range(4)], sparse=True)


def test_killed_at_random_moments(binary, work):
    rng = random.Random(7)
    moments = 500 if THOROUGH else 24
    for number in range(moments):
        scenario = SCENARIOS[number % 2]
        directory = work / "m"
        old = scenario.make(directory)
        larger_source(directory, 16)
        old = tree(directory)
        arguments = [binary, "convert", "src", "dst", "--max-shard-size", "3MB", "--dtype", "bfloat16", *(["--force"] if number % 2 else [])]
        if number < 2:
            begin = time.monotonic()
            result = subprocess.run(arguments, cwd=directory, env=running.environment(directory, {}), capture_output=True, check=False)
            assert result.returncode == 0, result
            scenario.seconds, scenario.large = time.monotonic() - begin, tree(directory)
        else:
            process = subprocess.Popen(arguments, cwd=directory, env=running.environment(directory, {}), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(rng.uniform(0, scenario.seconds))
            process.kill()
            process.communicate()
            state = seen(tree(directory))
            names = [n for n in state if n.split("/")[-1] in ENTRY_POINTS and not n.startswith("src/")]
            assert state == old or scenario.large.items() <= state.items() or not names, (number, sorted(state))
            again = subprocess.run(arguments, cwd=directory, env=running.environment(directory, {}), capture_output=True, check=False)
            assert again.returncode == 0, (number, again)
            assert tree(directory) == scenario.large, (number, sorted(tree(directory)))
        shutil.rmtree(directory)


def can_mount():
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0 if shutil.which("unshare") else False


# Makes the old state in a small file system, runs the program there, and brings out what it holds then.
IN_SMALL_DISK = """
set -e
mkdir disk copy
mount -t tmpfs -o size=64m tmpfs disk
if [ -e dst ]; then cp -a dst disk/dst; fi
mount -o remount,size=$1 disk
shift
status=0
"$@" >out 2>err || status=$?
echo $status >status
cp -a disk/. copy
"""


def test_full_disk_of_every_size(binary, work):
    if not can_mount():
        print("skipped: no mounts in a user namespace here")
        return
    page = 4096
    for scenario in SCENARIOS[:2]:
        directory = work / "complete"
        scenario.make(directory)
        result = running.run(binary, scenario.arguments, directory)
        assert result.status == 0, result
        new = tree(directory / "dst")
        shutil.rmtree(directory)
        statuses, told = [], False
        for pages in range(0 if not scenario.name.startswith("existing") else 5, 26, 1 if THOROUGH else 2):
            directory = work / f"{pages}"
            scenario.make(directory)
            old = tree(directory / "dst") if (directory / "dst").exists() else {}
            arguments = [a if a != "dst" else "disk/dst" for a in scenario.arguments]
            command = ["-rm", "sh", "-c", IN_SMALL_DISK, "sh", str(max(1, pages * page)), binary, *arguments]
            done = running.run(shutil.which("unshare"), command, directory)
            if not (directory / "status").exists():  # the old state alone does not fit
                shutil.rmtree(directory)
                continue
            status = int((directory / "status").read_text())
            state = tree(directory / "copy" / "dst") if (directory / "copy" / "dst").exists() else {}
            leftovers = [n for n in tree(directory / "copy") if is_leftover(n)]
            error = (directory / "err").read_text()
            if status == 0:
                assert state == new, (pages, sorted(state))
            else:
                assert state == old and not leftovers, (pages, sorted(state), leftovers, error, done)
                assert status == 5 and "[no_space]" in error, (pages, status, error)
                told |= bool(re.search(r"\d+ bytes .* has \d+ left", error))
            statuses.append(status)
            shutil.rmtree(directory)
        assert {0, 5} == set(statuses) and told, (statuses, told)
        assert statuses == sorted(statuses, reverse=True), f"a smaller disk was enough: {statuses}"


def test_interrupted_by_a_signal(binary, work):
    for number, status in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
        for scenario in SCENARIOS[:2]:
            directory = work / f"{number}-{scenario.name.split()[0]}"
            scenario.make(directory)
            old = seen_names(directory)
            larger_source(directory, 3072)
            arguments = [binary, "convert", "src", "dst", "--force", "--dtype", "float16", "--progress", "always"]
            process = subprocess.Popen(arguments, cwd=directory, env=running.environment(directory, {}), stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            assert b"converting" in process.stderr.readline()
            process.send_signal(number)
            out, _ = process.communicate(timeout=running.SECONDS)
            assert (process.returncode, out) == (status, b""), process.returncode
            assert seen_names(directory) == old, seen_names(directory)
            shutil.rmtree(directory)


def seen_names(folder):
    """Names of all files, and what those of the destination hold."""
    return {name: value for name, value in tree(folder / "dst").items()} | {str(p.relative_to(folder)): None for p in folder.rglob("*")}
