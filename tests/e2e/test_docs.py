"""What the pages for readers name is there: files, headings, verbs, protocols."""
import re
import subprocess
import sys

from conftest import BUILD, ROOT

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from showcase import PROTOCOLS  # noqa: E402

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.S | re.M)


def pages():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.split()] or [p for p in ROOT.rglob("*.md") if "build" not in p.parts]


def anchors(page):
    """The names that a heading is reached by, as forges make them."""
    heads = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in heads}


def test_every_link_leads_somewhere():
    wrong = []
    for page in pages():
        for target in LINK.findall(FENCED.sub("", page.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            there = page if not name else (page.parent / name).resolve()
            if not there.exists():
                wrong.append(f"{page.relative_to(ROOT)}: {target}: no such file")
            elif anchor and anchor not in anchors(there):
                wrong.append(f"{page.relative_to(ROOT)}: {target}: no such heading")
    assert not wrong, "\n".join(wrong)


def test_the_front_page_names_every_verb_and_every_protocol():
    text = (ROOT / "README.md").read_text()
    table = text[text.index("## Programs"):text.index("## Configure")]
    verbs = re.findall(r"^  ([a-z]+) ", subprocess.run([BUILD / "bin/causeway", "--help"], capture_output=True, text=True, check=True).stdout, re.M)
    assert len(verbs) > 10
    assert [v for v in verbs if not re.search(rf"`{v}[` ]", table)] == []
    protocols = text[text.index("## Protocols"):text.index("## Ways up")]
    built = {p.parent.name for p in (ROOT / "plugins").glob("*/plugin.c")} - {"skeleton"}
    assert set(re.findall(r"^\| \[`(\w+)`\]", protocols, re.M)) == built == set(PROTOCOLS)
