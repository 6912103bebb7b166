"""The page of causeway-factory in a real browser: headless Chromium, driven as the people of a production line would."""

import sqlite3

import pytest

from conftest import PATIENCE, wait_until
from factory_world import GUEST, MARIA, OFFICE_PK as PK, OFFICE_PS as PS, Office, guarded, office, secret, sheet  # noqa: F401 (fixtures)

webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

HOSTILE = "<img src=x onerror=window.hit=1>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    home = tmp_path_factory.mktemp("chromium")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1440,1000",
                     "--disable-background-networking", f"--user-data-dir={home}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    yield driver
    driver.quit()


class Page:
    def __init__(self, browser, office):
        self.browser, self.office = browser, office

    def open(self):
        self.browser.get(f"http://{self.office.address}/")
        return self

    def run(self, script, *args):
        return self.browser.execute_script(script, *args)

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """As people see it, in one step: the page redraws itself. None: not there, or hidden."""
        return self.run("const e = document.querySelector(arguments[0]); return e && e.checkVisibility() ? e.innerText : null", selector)

    def rows(self, place):
        return self.run("return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map(r => [...r.cells].map(c => c.innerText.trim()))", place)

    def click(self, selector, text=None):
        """What is shown and (if said) has this text; it may be redrawn between finding and clicking: done inside the page."""
        assert self.run("const e = [...document.querySelectorAll(arguments[0])].find(e => e.checkVisibility() && !e.disabled && (arguments[1] === null || e.innerText.trim() === arguments[1]));"
                        "if (e) e.click(); return Boolean(e)", selector, text), f"nothing to click: {selector} {text or ''}"

    def fill(self, selector, text):
        e = self.find(selector)
        e.clear()
        e.send_keys(text)

    def choose(self, selector, value):
        Select(self.find(selector)).select_by_value(value)

    def wait(self, condition, what):
        return wait_until(condition, what, PATIENCE)

    def wait_text(self, selector, part):
        return self.wait(lambda: part in (self.text(selector) or ""), f"{part!r} in {selector}, where there is {self.text(selector)!r}")

    def tiles(self):
        return {s: self.text(f"#tiles [data-state={s}] b") for s in ("free", "allocated", "written", "void")}

    def wait_tiles(self, **figures):
        self.wait(lambda: {k: v for k, v in self.tiles().items() if k in figures} == figures, f"{figures}, not {self.tiles()}")

    def scan(self, text):
        """As a barcode scanner does: characters and Enter, into whatever has the focus; here a button."""
        self.run("document.querySelector('#verify').focus()")
        ActionChains(self.browser).send_keys(text + Keys.ENTER).perform()

    def drop(self, name, text, at="body"):
        """A file dragged from the desktop and dropped."""
        self.run("""const data = new DataTransfer(), place = document.querySelector(arguments[2]);
                    data.items.add(new File([arguments[1]], arguments[0], { type: "text/csv" }));
                    for (const kind of ["dragenter", "dragover", "drop"])
                      place.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));""", name, text, at)


@pytest.fixture
def quiet(browser):
    """Nothing of the page goes wrong, as far as the browser says."""
    browser.get_log("browser")
    yield
    browser.get("about:blank")  # follows no server that is stopped
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    severe = [e["message"] for e in browser.get_log("browser")
              if e["level"] == "SEVERE" and "the server responded with a status" not in e["message"] and "net::ERR_" not in e["message"]]
    assert severe == []


@pytest.fixture
def page(browser, office, quiet):
    page = Page(browser, office).open()
    page.wait_text("#link", "live")
    return page


def test_the_line_at_a_glance(page, office):
    """covers: B29"""
    assert page.text("#stock .hint").startswith("Nothing is in stock yet")
    office.load(sheet(40), "2026-11")
    page.wait_tiles(free="40", allocated="0", written="0", void="0")
    for i in range(3):
        office.ask(f"SN-{i}")
    office.ask("SN-0", 1)
    office.post("/void", {"productKey": PK, "deviceName": "board-0040", "reason": "x"})
    page.wait_tiles(free="36", allocated="2", written="1", void="1")
    page.wait(lambda: page.text("#stock .batch .ends") == "36 free\nruns out in 12 h 0 min", "the batch")
    assert page.text("#stock .batch .name") == f"2026-11\n{PK} · 40 in all"
    assert page.run("return document.querySelector('.batch .stack').getAttribute('aria-label')") == "1 written, 2 allocated, 36 free, 1 void"
    assert page.text("#rate .big") == "1" and page.run("return document.querySelectorAll('#rate rect').length") == 1
    assert [r[:4] for r in page.rows("#stations")] == [["127.0.0.1", "3", "1", "2"]]
    assert [r[1] for r in page.rows("#recent")] == ["void", "written", "allocated", "allocated", "allocated", "import"]
    assert page.text("#problems") in (None, "")  # 36 last for half a day, and no mark was set
    office.post("/batch", {"name": "2026-11", "productKey": PK, "low": 40})
    page.wait_text("#problems", "has 36 certificates left")


def test_a_dropped_file_is_imported(page, office):
    """covers: B24 B26 B27"""
    page.drop("line-8.csv", sheet(25))
    assert page.text("#drop").startswith("line-8.csv") and page.find("#import [name=batch]").get_attribute("value") == "line-8"
    page.click("#import form > button")
    page.wait_text("#import .result", "ProductSecret")  # the file has none, and none was given
    assert page.text("#import .result dl") is None  # no row of noughts: nothing was read
    page.find("#import [name=batch]").click()
    page.find("#import [name=batch]").send_keys("night")  # in place of the proposal
    assert page.find("#import [name=batch]").get_attribute("value") == "night"
    page.fill("#import [name=batch]", "line-8")
    assert office.get("/batches")["batches"] == []
    page.fill("#import [name=secret]", PS)
    page.click("#import form > button")
    page.wait_text("#import .result", "25 new certificates in batch line-8.")
    assert page.text("#import .result dl").split() == ["read", "25", "new", "25", "known", "0", "refused", "0"]
    page.wait_tiles(free="25")
    assert office.ask("SN-1")["ProductSecret"] == PS
    assert page.find("#import [name=secret]").get_attribute("value") == ""  # does not stay on a shared screen
    page.drop("line-8.csv", sheet(26).replace(secret(3), secret(99)), "#drop")
    page.fill("#import [name=secret]", PS)
    page.click("#import form > button")
    page.wait(lambda: page.rows("#import .result"), "the refused lines")
    assert [r[:2] for r in page.rows("#import .result")] == [["4", "DeviceSecret"]]
    assert page.text("#import .result .bad") and secret(99) not in page.find("body").get_attribute("innerHTML")
    assert office.get("/batches")["batches"][0]["total"] == 25


def test_a_scanned_board_is_shown_with_its_history(page, office):
    """covers: B28"""
    office.load(sheet(30))
    name = office.ask("AA:BB:CC:00:00:01")["DeviceName"]
    office.ask("AA:BB:CC:00:00:02")
    office.ask("AA:BB:CC:00:00:01", 1)
    page.scan("AA:BB:CC:00:00:01")
    page.wait(lambda: page.text("#board-title") == "AA:BB:CC:00:00:01", "the board")
    shown = page.text("#board dl")
    assert name in shown and "written" in shown and "b-1" in shown and PK in shown and PS not in shown
    assert [r[1:3] for r in page.rows("#board")] == [["written", "127.0.0.1"], ["allocated", "127.0.0.1"]]
    assert page.run("return document.activeElement.id") == "search"
    page.browser.switch_to.active_element.send_keys("AA:BB:CC:00:00:02" + Keys.ENTER)  # the next scan takes its place
    page.wait(lambda: page.text("#board-title") == "AA:BB:CC:00:00:02", "the next board")
    page.scan(name)
    page.wait(lambda: page.text("#board-title") == "AA:BB:CC:00:00:01", "the board by its name")
    page.scan("board-00")  # no board's name, but the beginning of many
    page.wait(lambda: len(page.rows("#list")) == 30, "the list")
    page.click("#list tbody button", "board-0017")
    page.wait(lambda: page.text("#board-title") == "board-0017", "the board of the list")
    assert page.rows("#board") == [["nothing has happened to it since its import"]]
    page.scan("nobody")
    page.wait_text("#board .hint", "no certificate")
    page.wait_text("#list", "No certificate fits.")


def test_lists_are_filtered_and_paged(page, office):
    office.load(sheet(120), "first")
    office.load(sheet(3, first=200), "second")
    for i in range(3):
        office.ask(f"SN-{i}")
    page.wait_tiles(free="120", allocated="3")
    page.click("#tiles [data-state=free]")
    page.wait(lambda: len(page.rows("#list")) == 50, "the first page")
    page.click("#more")
    page.wait(lambda: len(page.rows("#list")) == 100, "the second page")
    page.click("#more")
    page.wait(lambda: len(page.rows("#list")) == 120 and page.text("#more") is None, "the last page")
    page.choose("#list [name=batch]", "second")
    page.wait(lambda: [r[0] for r in page.rows("#list")] == ["board-0200", "board-0201", "board-0202"], "the filter")
    page.click("#tiles [data-state=allocated]")
    page.wait(lambda: {r[1] for r in page.rows("#list")} == {"SN-0", "SN-1", "SN-2"}, "the allocated ones")


def test_a_certificate_is_made_void_after_asking(page, office):
    office.load(sheet(3))
    name = office.ask("SN-1")["DeviceName"]
    page.scan("SN-1")
    page.wait(lambda: page.text("#void"), "the board")
    page.click("#void")
    assert name in page.text("#void-dialog dl") and "SN-1" in page.text("#void-dialog dl")
    page.click("#void-dialog .cancel")
    page.wait(lambda: page.text("#void-dialog") is None, "the end of the question")
    page.click("#void")
    page.click("#void-dialog .danger")  # without a reason the form stays
    assert page.text("#void-dialog") and office.get("/board", text="SN-1")["board"]["state"] == "allocated"
    page.fill("#void-dialog [name=reason]", "board scrapped")
    page.click("#void-dialog .danger")
    page.wait(lambda: "void: nobody gets it" in (page.text("#board dl") or ""), "the void board")
    assert "board scrapped" in page.text("#board dl") and page.rows("#board")[0][1] == "void" and page.text("#void") is None
    page.wait_tiles(void="1")


def test_a_scanner_decides_nothing(page, office):
    """While a question is open the next board is scanned: what the scanner types, with its Enter, presses no button that does something."""
    office.load(sheet(3))
    name = office.ask("SN-1")["DeviceName"]

    def scan():
        ActionChains(page.browser).send_keys("SN-2" + Keys.ENTER).perform()

    page.scan("SN-1")
    page.wait(lambda: page.text("#void"), "the board")
    page.click("#void")
    page.wait(lambda: page.text("#void-dialog"), "the question")
    scan()
    page.click("#void-dialog .cancel")
    page.wait(lambda: page.text("#void-dialog") is None, "its end")
    page.click("#take-back")
    page.wait_text("#reclaim-dialog .what", "1 certificate of SN-1")
    scan()  # "Leave them" has the focus
    page.wait(lambda: page.text("#reclaim-dialog") is None, "the end of the other question")
    page.wait(lambda: page.text("#stock .batch"), "the batch")
    page.click("#stock .do button", "Manage")
    page.wait(lambda: page.text("#batch-dialog"), "the batch")
    scan()
    page.click("#batch-dialog .cancel")
    page.wait(lambda: page.text("#batch-dialog") is None, "its end")
    board = office.get("/board", text="SN-1")
    assert (board["board"]["state"], board["board"]["deviceName"]) == ("allocated", name)
    assert {e["what"] for e in office.get("/audit")["entries"]} == {"import", "allocate"}


def test_batches_are_closed_opened_and_set(page, office):
    office.load(sheet(3))
    page.wait(lambda: page.text("#stock .batch"), "the batch")
    page.click("#stock .do button", "Close")
    page.wait(lambda: page.text("#stock .tag") == "closed", "the closed batch")
    assert office.ask("SN-1")["Status"] == "BATCH_CLOSED"
    page.click("#stock .do button", "Open")
    page.wait(lambda: page.text("#stock .batch") and page.text("#stock .tag") is None, "the open batch")
    office.ask(None)
    page.wait_tiles(allocated="1")
    page.click("#stock .do button", "Manage")
    page.fill("#batch-dialog [name=low]", "2500")
    page.choose("#batch-dialog [name=lease]", "anonymous")
    page.fill("#batch-dialog [name=hours]", "1.5")
    page.click("#batch-dialog .main")
    page.wait(lambda: page.text("#batch-dialog") is None, "the end of the dialog")
    batch = office.get("/batches")["batches"][0]
    assert (batch["low"], batch["lease"], batch["leaseMs"], batch["closed"]) == (2500, "anonymous", 5400000, False)
    page.wait_text("#problems", "less than 2500")
    page.click("#stock .do button", "Manage")
    page.click("#batch-reclaim")
    page.wait_text("#reclaim-dialog .what", "1 certificate of batch b-1")
    assert office.get("/batches")["batches"][0]["count"]["allocated"] == 1  # only shown
    meanwhile = office.ask("SN-9")["DeviceName"]  # the line goes on while the dialog is open
    page.click("#reclaim-dialog .danger")
    page.wait_tiles(free="2", allocated="1")
    assert office.ask("SN-9")["DeviceName"] == meanwhile


def test_product_settings_and_the_audit_log(page, office):
    office.load(sheet(2))
    page.wait(lambda: page.text("#products .rows button"), "the product")
    page.click("#products .rows button")
    page.choose("#product-dialog [name=crcForm]", "number")
    page.click("#product-dialog [name=normalizeMac]")
    page.click("#product-dialog .main")
    page.wait_text("#products", "CRC32 as number · MACs in any form")
    assert isinstance(office.ask("aa:bb:cc:dd:ee:ff")["CRC32"], int)
    page.click("#verify")
    page.wait_text("#audit .result", "nothing was changed")


def test_hostile_texts_stay_texts(page, office):
    """What stations, files and operators send is shown, never run."""
    office.load(sheet(3).replace("ProductKey\n", "ProductKey,<b>x</b>\n").replace(f"{PK}\n", f"{PK},{HOSTILE}\n"), HOSTILE, file=HOSTILE)
    office.ask(HOSTILE)
    page.wait(lambda: HOSTILE in [r[2].split("\n")[0] for r in page.rows("#recent")], "the DeviceID")
    page.scan(HOSTILE)
    page.wait(lambda: page.text("#board-title") == HOSTILE, "the board")
    page.click("#stock .do button", "Manage")
    page.wait_text("#batch-title", HOSTILE)
    page.click("#batch-dialog .cancel")
    page.click("#void")
    page.fill("#void-dialog [name=reason]", HOSTILE)
    page.click("#void-dialog .danger")
    page.wait(lambda: page.text("#board dl") and page.text("#board dl").count(HOSTILE) >= 3, "the reason")
    page.drop(HOSTILE + ".csv", "nothing,here\n")
    page.click("#import form > button")
    page.wait(lambda: page.text("#import .result .bad"), "the refusal")
    assert page.run("return [document.images.length, window.hit === undefined, document.querySelectorAll('main b b').length]") == [0, True, 0]


def test_log_in_and_out(browser, guarded, quiet):
    guarded.load(sheet(2), headers=guarded.bearer(MARIA))
    page = Page(browser, guarded).open()
    page.wait(lambda: page.text("#login"), "the form")
    assert page.text("main") is None
    page.fill("#login [name=name]", "maria")
    page.fill("#login [name=token]", "wrong")
    page.click("#login button")
    page.wait_text("#login output", "no operator has this name and token")
    page.fill("#login [name=token]", MARIA)
    page.click("#login button")
    page.wait_tiles(free="2")
    assert page.text("#me").startswith("maria")
    page.wait(lambda: page.text("#stock .batch"), "the batch")
    page.click("#stock .do button", "Close")
    page.wait(lambda: page.text("#stock .tag") == "closed", "the closed batch")
    assert guarded.get("/audit", headers=guarded.bearer(MARIA))["entries"][0]["who"] == "page:maria"
    assert page.run("return document.cookie") == ""  # no script sees the session
    page.open()
    page.wait_tiles(free="2")  # and it outlives the page
    page.click("#logout")
    page.wait(lambda: page.text("#login") and page.text("main") is None, "the form")
    page.fill("#login [name=name]", "guest")
    page.fill("#login [name=token]", GUEST)
    page.click("#login button")
    page.wait_tiles(free="2")
    assert "view only" in page.text("#me") and page.text("#import") is None and page.text("#products button") is None
    assert [b for b in page.run("return [...document.querySelectorAll('#stock button')].map(b => b.innerText)")] == ["Boards"]
    page.click("#logout")


@pytest.mark.parametrize("width, height, dark", [(768, 1024, False), (1024, 768, True), (1920, 1080, False), (390, 844, True)])
def test_every_size_in_light_and_dark(browser, office, quiet, width, height, dark):
    """A tablet's width has no sideways scrolling, what is touched is large enough, and texts stand out from what is behind them."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
    office.load(sheet(30), "a batch with a rather long name that has no place")
    office.ask("SN-with-quite-a-long-name-0123456789-0123456789-0123456789")
    page = Page(browser, office).open()
    page.wait(lambda: page.text("#stock .batch") and page.rows("#recent"), "the stock")
    assert page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    small = page.run("""return [...document.querySelectorAll("button:not(.row), input, select")].filter(e => e.checkVisibility() && e.type !== "checkbox" && e.type !== "file")
                        .filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML)""")
    assert small == []
    weak = page.run("""
        const lum = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
        const back = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return "rgb(255,255,255)"; };
        return [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
          .filter(e => !e.closest("svg"))
          .map(e => { const a = lum(getComputedStyle(e).color), b = lum(back(e)); return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.innerText.slice(0, 30), getComputedStyle(e).color, back(e)]; })
          .filter(([ratio]) => ratio < 4.5);""")
    assert weak == []
    unnamed = page.run("""return [...document.querySelectorAll("input, select, button")].filter(e => e.checkVisibility())
                          .filter(e => !(e.innerText.trim() || e.getAttribute("aria-label") || (e.labels && e.labels.length && e.labels[0].textContent.trim()))).map(e => e.outerHTML)""")
    assert unnamed == []


def test_the_page_survives_its_server(page, office):
    office.load(sheet(5))
    page.wait_tiles(free="5")
    port = office.process.ready["office"][0].rsplit(":", 1)[1]
    config = office.dir / "factory.conf"
    config.write_text(config.read_text().replace('office = [ { listen = "127.0.0.1:0"', f'office = [ {{ listen = "127.0.0.1:{port}"'))
    office.process.kill()
    page.wait_text("#link", "no answer since")
    assert page.tiles()["free"] == "5"  # what was seen last stays, dimmed
    assert page.run("return Number(getComputedStyle(document.querySelector('#tiles')).opacity)") < 1
    office.process.start()
    office.ask("SN-1")
    page.wait_tiles(free="4", allocated="1")
    page.wait_text("#link", "live")


def test_a_newer_server_brings_its_page(page, office):
    """Also one that was replaced so quickly that no request was lost: as if this page were an older one's."""
    page.wait(lambda: page.run("return state.started"), "the first figures")
    page.run("window.old = true; state.session.version = '0.0.0'; state.started = 1")
    page.wait(lambda: page.run("return !window.old"), "the new page")
    page.wait_text("#link", "live")


def test_trouble_with_the_database_is_said(browser, spawn, tmp_path, quiet):
    """Somebody keeps the database for himself: stations are told BUSY, the page says so on top, changes are refused in words."""
    office = Office(spawn, tmp_path, "wait = 100ms")
    office.load(sheet(5))
    page = Page(browser, office).open()
    page.wait_tiles(free="5")
    with sqlite3.connect(tmp_path / "factory.db", isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        page.wait(lambda: office.ask("SN-1")["Status"] == "BUSY", "BUSY")
        page.wait_text("#problems .bad", "The database takes no changes")
        assert page.text("#link") == "database trouble" and page.tiles()["free"] == "5"
        page.scan("board-0005")
        page.wait(lambda: page.text("#void"), "the board")
        page.click("#void")
        page.fill("#void-dialog [name=reason]", "x")
        page.click("#void-dialog .danger")
        page.wait(lambda: page.text("#void-dialog output"), "the refusal")
        db.execute("ROLLBACK")
    db.close()
    page.click("#void-dialog .danger")
    page.wait(lambda: "void: nobody gets it" in (page.text("#board dl") or ""), "the void board")
    page.wait(lambda: office.ask("SN-1")["Status"] == "OK", "the certificate")
    page.wait_tiles(free="3", allocated="1", void="1")
    page.wait_text("#link", "live")


def test_keyboard_alone_will_do(page, office):
    office.load(sheet(2))
    page.wait(lambda: page.text("#stock .batch"), "the batch")
    page.run("document.querySelector('#stock .do button').focus()")
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda: page.text("#stock .tag") == "closed", "the closed batch")
    page.run("[...document.querySelectorAll('#stock .do button')].find(b => b.innerText === 'Manage').focus()")
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda: page.text("#batch-dialog"), "the dialog")
    assert page.run("return document.querySelector('#batch-dialog').contains(document.activeElement)")
    page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.wait(lambda: page.text("#batch-dialog") is None, "its end")
