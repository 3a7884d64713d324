"""Checks what the compiler made of the GEMM kernels: the instructions meant, in PTX and, with cuobjdump, in SASS; no
stack frame, so no register spilled; no complaint of ptxas about wgmma or setmaxnreg. Reads what the build kept of its own
compilation (nvcc --keep). Needs no GPU, and says nothing about results.

    check_instructions.py FOLDER NVCC [CUOBJDUMP]
"""

import pathlib
import re
import struct
import subprocess
import sys
import tempfile

# file -> kernel, as a pattern of its mangled name -> (in its PTX, not in its PTX, in its SASS)
TENSOR_CORE = (["mma.sync.aligned.m16n8k16.row.col.f32", "ldmatrix.sync.aligned.m8n8.x4", "cp.async.cg.shared.global",
                "cp.async.wait_group"], ["wgmma", "atom.", "red."], ["HMMA.16816.F32", "LDSM.16.M88.4", "LDGSTS.E.BYPASS"])
BY_4_BYTES = (TENSOR_CORE[0][:2] + ["cp.async.ca.shared.global", "cp.async.wait_group"], TENSOR_CORE[1],
              ["HMMA.16816.F32", "LDSM.16.M88.4", "LDGSTS.E"])
BY_HALF_WORDS = (TENSOR_CORE[0][:2] + ["ld.global.nc.u16", "ld.global.nc.u32", "shf.l.wrap.b32", "st.shared.v4"],
                 TENSOR_CORE[1] + ["cp.async"], ["HMMA.16816.F32", "LDSM.16.M88.4", "LDG.E.U16", "STS.128"])
HOPPER = (["wgmma.mma_async.sync.aligned.m64n", "cp.async.bulk.tensor.3d.shared::cluster.global", "mbarrier.try_wait.parity",
           "mbarrier.arrive.expect_tx", "setmaxnreg.dec", "setmaxnreg.inc", "fence.mbarrier_init",
           "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster", "mapa.shared::cluster",
           "mbarrier.arrive.shared::cluster", "barrier.cluster.arrive", "barrier.cluster.wait"], ["mma.sync", "atom.", "red."],
          ["HGMMA.64x", "UTMALDG.3D", "UTMALDG.3D.MULTICAST", "SYNCS", "USETMAXREG", "UCGABAR_ARV", "UCGABAR_WAIT"])
# "mma" would be no true fp32; "atom." and "red." would make the order of a sum depend on luck.
SIMT = (["cp.async.ca.shared.global", "fma.rn.f32", "ld.shared.v4"], ["mma", "atom.", "red."],
        ["LDGSTS.E", "FFMA", "LDS.128"])
VECTOR = (["ld.global.nc.L1::no_allocate.v4", "shfl.sync.bfly", "fma.rn.f32"], ["mma", "atom.", "red."],
          ["LDG.E.128", "SHFL.BFLY", "FFMA"])
PLAIN = (["fma.rn.f32"], ["mma", "atom.", "red."], ["FFMA"])
SUM = (["add.f32"], ["atom.", "red."], ["FADD"])
MMA, MMA_BY_4_BYTES = r"mma_kernel\w*Lj16EEEEE", r"mma_kernel\w*Lj4EEEEE"  # the tile's last argument
EXPECTED = {
    "gemm_ladder.cu": {"naive_kernel": PLAIN, "tiled_kernel": PLAIN},
    "gemm_launch.cu": {"reduce_kernel": SUM},
    "gemm_mma.cu": {MMA: TENSOR_CORE, MMA_BY_4_BYTES: BY_4_BYTES, "mma_half_word_kernel": BY_HALF_WORDS},
    "gemm_simt.cu": {"simt_kernel": SIMT},
    "gemm_vector.cu": {"vector_kernel": VECTOR},
    "gemm_wgmma.cu": {"wgmma_kernel": HOPPER},
}
INSTANCES = {"naive_kernel": 3, "tiled_kernel": 3, "reduce_kernel": 3, MMA: 6, MMA_BY_4_BYTES: 2, "mma_half_word_kernel": 2, "simt_kernel": 2, "vector_kernel": 12,
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


def frame_bytes(cubin):
    """Mangled name -> bytes of the stack frame of each kernel: spilled registers and arrays. From the ELF section .nv.info,
    attribute 0x11 (EIATTR_FRAME_SIZE) of format 4: symbol, bytes."""
    start, = struct.unpack_from("<Q", cubin, 0x28)
    entry, count, names_at = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", cubin, start + i * entry) for i in range(count)]

    def text(table, offset):
        begin = sections[table][4] + offset
        return cubin[begin:cubin.index(b"\0", begin)].decode()

    bytes_of, symbols = {}, []
    for name, _, _, _, offset, size, link, *_ in sections:
        if text(names_at, name) == ".symtab":
            symbols = [text(link, struct.unpack_from("<I", cubin, offset + i)[0]) for i in range(0, size, 24)]
        elif text(names_at, name) == ".nv.info":
            at = offset
            while at < offset + size:
                form, attribute, length = struct.unpack_from("<BBH", cubin, at)
                if (form, attribute) == (4, 0x11):
                    symbol, frame = struct.unpack_from("<II", cubin, at + 4)
                    bytes_of[symbol] = frame
                at += 4 + (length if form == 4 else 0)
    return {symbols[symbol]: frame for symbol, frame in bytes_of.items()}


def check_file(folder, name, architecture, cuobjdump):
    where = f"{name} for {architecture}"
    ptx_file, cubin_file = (folder / f"{pathlib.Path(name).stem}.compute_{architecture}.{kind}" for kind in ("ptx", "cubin"))
    if not ptx_file.exists() or not cubin_file.exists():
        yield f"{where}: the build kept no {ptx_file.name} and {cubin_file.name}; build the kernels again"
        return
    ptx = functions(ptx_file.read_text(), r"\.entry\s+(\w+)")
    frames = frame_bytes(cubin_file.read_bytes())
    sass = functions(run([cuobjdump, "-sass", cubin_file])[0], r"Function : (\w+)") if cuobjdump else {}
    for kernel, (wanted, unwanted, wanted_sass) in EXPECTED[name].items():
        names = [mangled for mangled in ptx if re.search(kernel, mangled)]
        if len(names) != INSTANCES[kernel]:
            yield f"{where}: {len(names)} instances of {kernel}, not {INSTANCES[kernel]}"
        for instance in names:
            yield from (f"{where}: {instance} has no {i}" for i in wanted if i not in ptx[instance])
            yield from (f"{where}: {instance} has {i}" for i in unwanted if re.search(rf"^\s*(@%\w+ )?{re.escape(i)}", ptx[instance], re.M))
            if frames.get(instance) != 0:
                yield f"{where}: {instance} has a stack frame of {frames.get(instance, 'unknown')} bytes"
            if cuobjdump:
                yield from (f"{where}: the SASS of {instance} has no {i}" for i in wanted_sass if i not in sass.get(instance, ""))


def complaints(folder, nvcc):
    """What ptxas says of the kernel that has wgmma and setmaxnreg, when it compiles it once more."""
    with tempfile.TemporaryDirectory() as made:
        ptx = folder / "gemm_wgmma.compute_90a.ptx"
        _, report = run([nvcc, "-cubin", "-arch=sm_90a", "-Xptxas", "-v", ptx, "-o", pathlib.Path(made) / "kernel.cubin"])
    if report.count("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads") != INSTANCES["wgmma_kernel"]:
        yield f"gemm_wgmma.cu: {report}"
    yield from (f"gemm_wgmma.cu: {c}" for c in re.findall(r".*(?:Potential Performance Loss|setmaxnreg|warning).*", report))


def main(folder, nvcc, cuobjdump=""):
    folder = pathlib.Path(folder)
    found = []
    for name in EXPECTED:
        for architecture in ("90a",) if name == "gemm_wgmma.cu" else ("80", "90a"):
            found += check_file(folder, name, architecture, cuobjdump)
    found += [] if found else complaints(folder, nvcc)
    print("\n".join(found) or f"all kernels hold the instructions meant, in PTX{' and SASS' if cuobjdump else ''}, and spill nothing")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
