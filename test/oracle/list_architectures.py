"""The table of docs/architectures.md, from the fixtures of make_modules.py: Markdown on standard output.

With --write it goes into docs/architectures.md, between the two comments there, and the number of model types into
README.md. Needs no package beyond the standard library.

Run: python3 test/oracle/list_architectures.py [--write]
"""

import collections
import json
import lzma
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DIALECTS = {"v4": "4.57.6", "v5": "5.23.0"}

# Families and classes that the packages lack, so that no fixture can hold them.
WITHOUT_ORACLE = {
    "internlm": (["InternLMForCausalLM", "InternLMModel", "InternLMForSequenceClassification"],
                 "code beside the checkpoint; parameters compared with Llama's"),
    "kimi_k2": (["DeepseekV3ForCausalLM", "DeepseekV3Model", "DeepseekV3ForSequenceClassification",
                 "DeepseekV3ForTokenClassification"],
                "code beside the checkpoint, whose classes are those of DeepSeek-V3; with group_query_attention, which those lack, "
                "planned from names"),
    "qwen": (["QWenLMHeadModel", "QWenModel"],
             "code beside the checkpoint; names and bytes compared with the published index"),
}
# What the fixtures do not show.
REMARKS = {
    "deepseek_v3": "the next-token layer of the published checkpoint is not part of the class",
    "gemma3": "names from before 4.52 are renamed on load",
    "gemma3n": "the vision tower is timm's mobilenetv5_300m_enc, as timm 1.0.31 builds it; others are planned from names",
    "llava": "names from before 4.52 are renamed on load",
    "qwen2_5_vl": "names from before 4.52 are renamed on load",
    "qwen2_vl": "names from before 4.52 are renamed on load",
    "qwen3_vl_moe": "published checkpoints have 4.57's shapes of the experts, of which 5 has the transposes",
}


def rows_of(dialect):
    for path in sorted((ROOT / "test/fixtures/modules" / dialect).glob("*.jsonl.xz")):
        with lzma.open(path, "rt") as lines:
            next(lines)  # the versions
            for line in lines:
                yield path.name, json.loads(line)


def saved_names(tree):
    """Parameters and persistent buffers."""
    names = set()
    for line in tree.split("\n"):
        kind, name, *rest = line.split(" ")
        if kind == "P" or (kind == "B" and rest[-1] == "persistent"):
            names.add(name)
    return names


def name_remarks(names_of):
    """How the names of a case differ between the dialects; `names_of` has one set a dialect."""
    if len(names_of) < len(DIALECTS):
        return set()
    old, new = (names_of[dialect] for dialect in DIALECTS)
    remarks = set()
    if any(re.search(r"\.experts\.(gate_up|down)_proj$", name) for name in new - old):
        remarks.add("experts stacked in 5")
    elif new - old:
        remarks.add("other tensor names in 5")
    return remarks


def collect():
    classes = collections.defaultdict(lambda: collections.defaultdict(set))  # model_type: class: dialects
    cases = collections.Counter()
    unsplittable = collections.defaultdict(set)  # (model_type, dialect): classes without a no-split list
    names = collections.defaultdict(dict)
    for dialect in DIALECTS:
        for file, row in rows_of(dialect):
            model_type = row["config"]["model_type"]
            classes[model_type][row["class"]].add(dialect)
            cases[model_type, dialect] += 1
            if not row["no_split_modules"]:
                unsplittable[model_type, dialect].add(row["class"])
            names[model_type, file, row["case"]][dialect] = saved_names(row["tree"])
    remarks = collections.defaultdict(set)
    for (model_type, _, _), names_of in names.items():
        remarks[model_type] |= name_remarks(names_of)
    for model_type, by_class in classes.items():
        remarks[model_type] |= no_split_remarks(model_type, by_class, unsplittable)
    return classes, cases, remarks


def no_split_remarks(model_type, by_class, unsplittable):
    lacking = {dialect: unsplittable[model_type, dialect] for dialect in DIALECTS}
    everywhere = {dialect: {c for c, found in by_class.items() if dialect in found} for dialect in DIALECTS}
    if not any(lacking.values()):
        return set()
    if lacking == everywhere:
        return {"no no-split list"}
    parts = []
    for dialect, found in lacking.items():
        if found == everywhere[dialect]:
            parts.append(dialect[1:])
        elif found:
            parts.append(f"{dialect[1:]} ({', '.join(sorted(found))})")
    return {"no no-split list in " + ", ".join(parts)}


def table():
    classes, cases, remarks = collect()
    for model_type, (names, remark) in WITHOUT_ORACLE.items():
        for name in names:
            classes[model_type].setdefault(name, set())
        remarks[model_type].add(remark)
    for model_type, remark in REMARKS.items():
        remarks[model_type].add(remark)
    lines = ["| model_type | classes | " + " | ".join(DIALECTS.values()) + " | remarks |", "|---|---|--:|--:|---|"]
    for model_type in sorted(classes):
        counts = " | ".join(str(cases[model_type, dialect]) for dialect in DIALECTS)
        names = ", ".join(sorted(classes[model_type]))
        lines.append(f"| `{model_type}` | {names} | {counts} | {'; '.join(sorted(remarks[model_type]))} |")
    return lines, len(classes)


def replace(path, pattern, text):
    old = path.read_text()
    new, count = re.subn(pattern, lambda match: match[1] + text + match[2], old, flags=re.DOTALL)
    assert count == 1, f"{path} has no place for it"
    path.write_text(new)


def main():
    lines, num_types = table()
    if "--write" not in sys.argv[1:]:
        print("\n".join(lines))
        return
    replace(ROOT / "docs/architectures.md", r"(<!-- table -->\n).*(<!-- end of table -->)", "\n".join(lines) + "\n")
    replace(ROOT / "README.md", r"(Known architectures: )\d+( model types)", str(num_types))


if __name__ == "__main__":
    main()
