"""Checks what the compiler made of the GEMM kernels: the instructions meant, in PTX and, with cuobjdump, in SASS; no
register spilled; no complaint of ptxas about wgmma or setmaxnreg. Needs no GPU, and says nothing about results.

    check_instructions.py NVCC SOURCE_DIRECTORY [CUOBJDUMP]
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# file -> kernel -> (in its PTX, not in its PTX, in its SASS)
TENSOR_CORE = (["mma.sync.aligned.m16n8k16.row.col.f32", "ldmatrix.sync.aligned.m8n8.x4", "cp.async.cg.shared.global",
                "cp.async.wait_group"], ["wgmma", "atom.", "red."], ["HMMA.16816.F32", "LDSM.16.M88.4", "LDGSTS.E.BYPASS"])
HOPPER = (["wgmma.mma_async.sync.aligned.m64n", "cp.async.bulk.tensor.3d.shared::cluster.global", "mbarrier.try_wait.parity",
           "mbarrier.arrive.expect_tx", "setmaxnreg.dec", "setmaxnreg.inc", "fence.mbarrier_init"], ["mma.sync", "atom.", "red."],
          ["HGMMA.64x", "UTMALDG.3D", "SYNCS", "USETMAXREG"])
# "mma" would be no true fp32; "atom." and "red." would make the order of a sum depend on luck.
SIMT = (["cp.async.ca.shared.global", "fma.rn.f32", "ld.shared.v4"], ["mma", "atom.", "red."],
        ["LDGSTS.E", "FFMA", "LDS.128"])
VECTOR = (["ld.global.nc.L1::no_allocate.v4", "shfl.sync.bfly", "fma.rn.f32"], ["mma", "atom.", "red."],
          ["LDG.E.128", "SHFL.BFLY", "FFMA"])
PLAIN = (["fma.rn.f32"], ["mma", "atom.", "red."], ["FFMA"])
SUM = (["add.f32"], ["atom.", "red."], ["FADD"])
EXPECTED = {
    "gemm_ladder.cu": {"naive_kernel": PLAIN, "tiled_kernel": PLAIN},
    "gemm_launch.cu": {"reduce_kernel": SUM},
    "gemm_mma.cu": {"mma_kernel": TENSOR_CORE},
    "gemm_simt.cu": {"simt_kernel": SIMT},
    "gemm_vector.cu": {"vector_kernel": VECTOR},
    "gemm_wgmma.cu": {"wgmma_kernel": HOPPER},
}
INSTANCES = {"naive_kernel": 3, "tiled_kernel": 3, "reduce_kernel": 3, "mma_kernel": 6, "simt_kernel": 2, "vector_kernel": 12,
             "wgmma_kernel": 4}


def run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{result.stdout}{result.stderr}")
    return result.stdout, result.stderr


def functions(text, head):
    """Mangled name -> text of each function; `head` finds a function's first line."""
    parts = re.split(head, text)
    return dict(zip(parts[1::2], parts[2::2]))


def check_file(nvcc, source, architecture, cuobjdump, folder):
    ptx_file, cubin = folder / "kernel.ptx", folder / "kernel.cubin"
    run([nvcc, "-std=c++20", "-O3", f"-I{source.parent.parent}", "-ptx", f"-arch=compute_{architecture}", source, "-o", ptx_file])
    _, report = run([nvcc, "-cubin", f"-arch=sm_{architecture}", "-Xptxas", "-v", ptx_file, "-o", cubin])
    ptx = functions(ptx_file.read_text(), r"\.entry\s+(\w+)")
    sass = functions(run([cuobjdump, "-sass", cubin])[0], r"Function : (\w+)") if cuobjdump else {}
    usage = functions(report, r"Compiling entry function '(\w+)'")
    where = f"{source.name} for {architecture}"
    for complaint in re.findall(r".*(?:Potential Performance Loss|setmaxnreg|warning).*", report):
        yield f"{where}: {complaint}"
    for kernel, (wanted, unwanted, wanted_sass) in EXPECTED[source.name].items():
        names = [name for name in ptx if kernel in name]
        if len(names) != INSTANCES[kernel]:
            yield f"{where}: {len(names)} instances of {kernel}, not {INSTANCES[kernel]}"
        for name in names:
            yield from (f"{where}: {name} has no {i}" for i in wanted if i not in ptx[name])
            yield from (f"{where}: {name} has {i}" for i in unwanted if re.search(rf"^\s*(@%\w+ )?{re.escape(i)}", ptx[name], re.M))
            if "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" not in usage.get(name, ""):
                yield f"{where}: {name} spills: {usage.get(name, 'no report').strip()}"
            if cuobjdump:
                yield from (f"{where}: the SASS of {name} has no {i}" for i in wanted_sass if i not in sass.get(name, ""))


def main(nvcc, root, cuobjdump=""):
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in EXPECTED:
            for architecture in ("90a",) if name == "gemm_wgmma.cu" else ("80", "90a"):
                found += check_file(nvcc, pathlib.Path(root) / "kernels" / name, architecture, cuobjdump, pathlib.Path(folder))
    print("\n".join(found) or f"all kernels hold the instructions meant, in PTX{' and SASS' if cuobjdump else ''}, and spill nothing")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
