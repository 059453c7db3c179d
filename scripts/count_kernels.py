"""Counts what a GPU program launches, loop by loop, from XLA's own dump of the compiled program. No GPU is needed:

    XLA_FLAGS=--xla_dump_to=DIR lockstep compile --topology h100 --env cartpole --num-envs 2048
    python3 scripts/count_kernels.py DIR

For one iteration of each loop, without the loops inside it: kernels, of them matrix products; copies; launches by the
host (a command buffer is one however many kernels are in it); waits of the host for a predicate on the device. A loop whose
number of iterations XLA knows needs no such wait; another has one per iteration and one to end.
"""

import argparse
import pathlib
import re
from dataclasses import dataclass, field

KERNELS = {"kCustomKernel", "kKernel", "kGemm", "kCublasLtMatmul", "kCustomCall", "kCudnn", "kConvolution", "kMemzero",
           "kMemset32BitValue"}
SILENT = {"kCommandBuffer", "kSequential", "kAsyncStart", "kAsyncDone", "kDynamicSliceFusion", "kDynamicSlice",
          "kWhile", "kConditional", "kWaitForStreams"}


@dataclass
class Thunk:
    number: str
    kind: str
    text: str
    section: str = ""
    children: list = field(default_factory=list)


def parse(path):
    """The tree of thunks; each child knows which part of its parent it is in (condition, body, a branch)."""
    root = Thunk("", "root", "")
    stack, section = [(-1, root)], ""
    for line in path.read_text().splitlines():
        found = re.match(r"(\s*)(\d+): (k\w+)\s*(?:\[[^\]]*\])?\s*(.*)", line)
        if not found:
            section = line.strip().rstrip(":") or section
            continue
        indent = len(found[1])
        while stack[-1][0] >= indent:
            stack.pop()
        parent = stack[-1][1]
        inherited = parent.children[-1].section if parent.children and not section else section
        thunk = Thunk(found[2], found[3], found[4], inherited)
        section = ""
        parent.children.append(thunk)
        stack.append((indent, thunk))
    return root


def names(path):
    """The name of each thunk's instruction, by the thunk's number."""
    pairs = re.findall(r'profile_annotation: "([^"]*)"\s+thunk_id: (\d+)', path.read_text())
    return {number.zfill(3): name for name, number in pairs}


def trips(path):
    """How often each loop goes round, where XLA knows."""
    known = {}
    for line in path.read_text().splitlines():
        found = re.match(r"\s*(?:ROOT )?%?([\w.-]+) = .* while\(", line)
        if found:
            count = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
            source = re.search(r'source_file="([^"]*)" source_line=(\d+)', line)
            known[found[1]] = (int(count[1]) if count else None, f"{source[1]}:{source[2]}" if source else "")
    return known


class Report:
    def __init__(self, names, trips):
        self.names, self.trips = names, trips
        self.rows = []

    def loop(self, thunks, label, depth, captured):
        counts = dict(kernels=0, products=0, copies=0, launches=0, waits=0)
        row = [depth, label, counts]
        self.rows.append(row)
        self.add(thunks, counts, depth, captured)

    def add(self, thunks, counts, depth, captured):
        for thunk in thunks:
            kind = thunk.kind
            if kind in KERNELS:
                counts["kernels"] += 1
                counts["products"] += kind in ("kGemm", "kCublasLtMatmul") or "gemm" in thunk.text
                counts["launches"] += not captured
            elif kind == "kCopy" or "Copy" in kind:
                counts["copies"] += 1
                counts["launches"] += not captured
            elif kind not in SILENT:
                raise SystemExit(f"unknown kind of thunk: {kind}")
            if kind == "kCommandBuffer":
                counts["launches"] += not captured
                self.add(thunk.children, counts, depth, True)
            elif kind == "kWhile":
                name = self.names.get(thunk.number, "?")
                count, source = self.trips.get(name, (None, ""))
                times = f"{count} times" if count is not None else "until a predicate on the device"
                counts["waits"] += count is None and not captured
                body = [child for child in thunk.children if child.section != "condition" or count is None]
                waits_label = "" if captured or count is not None else ", a wait each"
                self.loop(body, f"{name} ({source}): {times}{waits_label}", depth + 1, captured)
            elif kind == "kConditional":
                name = self.names.get(thunk.number, "?")
                counts["waits"] += not captured
                branches = {}
                for child in thunk.children:
                    branches.setdefault(child.section, []).append(child)
                for section, children in branches.items():
                    branch = dict(kernels=0, products=0, copies=0, launches=0, waits=0)
                    where = "on the device" if captured else "on the host"
                    self.rows.append([depth + 1, f"{name} {section}, chosen {where}", branch])
                    self.add(children, branch, depth + 1, captured)
            else:
                self.add(thunk.children, counts, depth, captured)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    for sequence in sorted(folder.glob("*.thunk_sequence.txt")):
        prefix = sequence.name.removesuffix(".thunk_sequence.txt")
        final = folder / f"{prefix}.thunk_sequence_after_thunk_passes.txt"
        [optimized] = folder.glob(f"{prefix}.*_gpu_after_optimizations.txt")
        report = Report(names(folder / f"{prefix}.thunk_metadata.txt"), trips(optimized))
        report.loop(parse(final if final.exists() else sequence).children, "program", 0, False)
        print(f"{prefix}\n  kernels products copies launches waits")
        for depth, label, counts in report.rows:
            numbers = "{kernels:9} {products:8} {copies:6} {launches:8} {waits:5}".format(**counts)
            print(f"{numbers}  {'  ' * depth}{label}")


if __name__ == "__main__":
    main()
