"""Which rows of tests/features.md the tests cover: tests name them as `covers: M12 K03`."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| ([A-O][0-9A-Z]{2}) \|")
COVERS = re.compile(r"covers:((?:[ ,]+[A-O][0-9A-Z]{2}\b)+)")


def table():
    """Rows in order: id -> (kind, what)."""
    rows = {}
    for line in (ROOT / "tests" / "features.md").read_text(encoding="utf-8").splitlines():
        if ROW.match(line):
            cells = [c.strip() for c in line.strip().strip("|").split(" | ")]
            rows[cells[0].strip("| ")] = (cells[3] if len(cells) > 3 else "?", cells[1])
    return rows


def named():
    """Row id -> files that name it."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("*")):
        if path.suffix not in (".c", ".py", ".sh") or path.name == "rows.py":
            continue
        for match in COVERS.finditer(path.read_text(encoding="utf-8", errors="replace")):
            for row in re.findall(r"[A-O][0-9A-Z]{2}", match.group(1)):
                found.setdefault(row, set()).add(str(path.relative_to(ROOT)))
    return found


def main():
    verbose = "-v" in sys.argv[1:]
    rows, found = table(), named()
    unknown = sorted(set(found) - set(rows))
    titles = dict(re.findall(r"^## ([A-O])\. ([^(\n]+)", (ROOT / "tests" / "features.md").read_text(encoding="utf-8"), re.M))
    for group in sorted({r[0] for r in rows}):
        mine = [r for r in rows if r[0] == group and rows[r][0] != "ctx"]
        covered = [r for r in mine if r in found]
        print(f"{group} {titles.get(group, '').strip()}: {len(covered)} of {len(mine)} covered" + ("" if len(covered) == len(mine) else
              "; open: " + " ".join(r for r in mine if r not in found)))
        if verbose:
            for r in covered:
                print(f"   {r} {rows[r][1][:70]}: {', '.join(sorted(found[r]))}")
    if unknown:
        print("named by tests but not in the table:", " ".join(unknown))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
