"""The lists that the program prints as its reference hold nothing that it never says."""
import re

from conftest import ROOT


def sources():
    """All that is compiled but the lists themselves, as one text."""
    return "\n".join(path.read_text() for folder in ("src", "plugins", "include") for path in sorted((ROOT / folder).rglob("*.[ch]"))
                     if path.name not in ("log_list.h", "stat_list.h"))


def rows(name, pattern):
    found = re.findall(pattern, (ROOT / "src" / "base" / name).read_text(), re.M)
    assert len(found) == len(set(found)) > 50
    return found


def test_every_log_id_is_logged_somewhere():
    logged = set(re.findall(r"\b(?:cw_log\(|CW_LOG_ID_)(\w+)", sources()))
    assert [name for name in rows("log_list.h", r"^\s*X\((\w+),") if name not in logged] == []


def test_every_counter_is_counted_somewhere():
    """Most by cw_count(module, name); what is counted under more than one name at once by a list of its own, X(name)."""
    text = sources()
    counted = set(re.findall(r"\bcw_\w+\((\w+),\s*(\w+)", text)) | set(re.findall(r"\bCW_STAT_([a-z0-9]+)_(\w+)", text))
    listed = set(re.findall(r"\bX\((\w+)\)", text))
    missing = [f"{module}.{name}" for module, name in rows("stat_list.h", r"X\((?:COUNTER|GAUGE), (\w+), (\w+),")
               if (module, name) not in counted and name not in listed]
    assert missing == []


def plugins():
    return sorted(path.parent for path in (ROOT / "plugins").glob("*/plugin.c"))


def test_every_setting_of_a_plugin_is_read():
    """A row of a table of cw_conf_field names a setting; the same name stands again where settings() reads it."""
    for plugin in plugins():
        table, code = [], []
        for path in sorted(plugin.glob("*.[ch]")):
            for line in path.read_text().splitlines():
                row = re.match(r'\s*\{ "(\w+)", CW_FIELD_', line)
                table += [row[1]] if row else []
                code += [] if row else [re.sub(r"/\*.*?\*/", "", line)]
        assert table, plugin.name
        table = [name for name in table if name != "defaults"]  # the host puts it below all places: daemon/settings.c
        assert [name for name in table if f'"{name}"' not in "\n".join(code)] == [], plugin.name


def test_every_counter_of_a_plugin_is_counted():
    """Their number is that of the descriptor's list: a static assertion beside each says so. What an X-macro list makes is
    named there and where it is counted."""
    seen = 0
    for plugin in plugins():
        text = "\n".join(path.read_text() for path in sorted(plugin.glob("*.[ch]")))
        listed = [re.sub(r"/\*.*?\*/", "", body, flags=re.S) for body in re.findall(r"^enum \w+_(?:counter|deviation) \{(.*?)\};", text, re.M | re.S)]
        names = [name for body in listed for name in re.findall(r"\b[A-Z]{2}_[ND]_\w+", body)]
        seen += len(names)
        assert [name for name in names if len(re.findall(rf"\b{name}\b", text)) < 2] == [], plugin.name
    assert seen > 60
