"""The emulator's page in a real browser: headless Chromium, driven as a person would."""
import base64
import json
import threading

import pytest

from cloud_client import DEV, Client, connect_packet, credentials, publish_packet, sys_topic
from conftest import PATIENCE, wait_until

webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    home = tmp_path_factory.mktemp("chromium")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1500,950",
                     "--disable-background-networking", f"--user-data-dir={home}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    yield driver
    driver.quit()


@pytest.fixture
def page(cloud, browser):
    browser.get(cloud.base.removesuffix("/api/v1") + "/")
    page = Page(browser)
    page.wait(lambda: page.rows("#devices"), "the list of devices")
    yield page
    browser.get("about:blank")  # follows no emulator that is stopped
    severe = [e["message"] for e in browser.get_log("browser")
              if e["level"] == "SEVERE" and "the server responded with a status" not in e["message"]]
    assert severe == []


class Page:
    def __init__(self, browser):
        self.browser = browser

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.find(selector).text

    def rows(self, table):
        """Rows as lists of texts, in one step: the page redraws itself."""
        return self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map(r => [...r.cells].map(c => c.textContent))", table)

    def click_row(self, table, text):
        """The element may be redrawn between finding and clicking: done inside the page."""
        assert self.browser.execute_script(
            "const r = [...document.querySelectorAll(arguments[0] + ' tbody tr')].find(r => r.textContent.includes(arguments[1]));"
            "if (r) r.click(); return Boolean(r)", table, text), f"no row with {text}"

    def fill(self, selector, text):
        e = self.find(selector)
        e.clear()
        e.send_keys(text)

    def choose(self, selector, text):
        Select(self.find(selector)).select_by_visible_text(text)

    def wait(self, condition, what):
        return wait_until(condition, what, PATIENCE)


def test_devices_and_products_are_shown_and_found(page, cloud):
    ids = [r[0] for r in page.rows("#devices")]
    assert f"{DEV[0]}/{DEV[1]}" in ids and len(ids) == 5
    assert ["a1EmuPk0001", "device"] in [[r[0], r[2]] for r in page.rows("#products")]
    page.fill("#search", "GW-00")
    page.wait(lambda: [r[0] for r in page.rows("#devices")] == ["a1EmuGw0001/gw-0001"], "the search")
    assert page.text("#device-count") == "1"


def test_what_a_device_sends_appears_at_once(page, cloud):
    page.click_row("#devices", DEV[1])
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/event/property/post_reply")]) as client:
        client.ask(sys_topic(DEV, "thing/event/property/post"),
                   {"method": "thing.event.property.post", "params": {"<b>level</b>": "<img src=x onerror=alert(1)>"}})
        page.wait(lambda: any(r[3].startswith("/sys/…/thing/event/property/post{") and r[5] == "taken" for r in page.rows("#messages")), "the message")
        page.wait(lambda: page.rows("#reported")[0][0] == "<b>level</b>", "the reported value, as text")
        page.wait(lambda: [r for r in page.rows("#devices") if DEV[1] in r[0]][0][1] == "ONLINE", "the status")
        page.click_row("#messages", "property/post_reply")
        assert json.loads(page.text("#message-payload"))["code"] == 200
        page.find("#message-dialog button").click()
        page.fill("#topic-filter", "/sys/+/+/thing/event/+/post")
        page.wait(lambda: {r[3].split("{")[0] for r in page.rows("#messages")} == {"/sys/…/thing/event/property/post"}, "the filter")


def test_a_property_set_and_a_raw_message_reach_the_device(page, cloud):
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/service/property/set"), topic]) as client:
        page.click_row("#devices", DEV[1])
        page.wait(lambda: page.text("#detail-title") == f"{DEV[0]}/{DEV[1]}", "the device")

        def answer():
            got = json.loads(client.receive().payload)
            client.publish(sys_topic(DEV, "thing/service/property/set_reply"), {"id": got["id"], "code": 200, "data": {}})
            answered.append(got["params"])
        answered = []
        thread = threading.Thread(target=answer)
        thread.start()
        page.fill("#send [name=payload]", '{"light": 1}')
        page.find("#send button").click()
        page.wait(lambda: '"answered"' in page.text("#send output"), "the answer")
        thread.join(PATIENCE)
        assert answered == [{"light": 1}]

        page.choose("#send [name=what]", "raw message")
        page.fill("#send [name=topic]", topic)
        page.fill("#send [name=payload]", "hello")
        page.find("#send button").click()
        assert client.receive_on(topic).payload == b"hello"
        page.wait(lambda: '"delivered"' in page.text("#send output"), "the outcome")

        page.fill("#send [name=payload]", "{")
        page.choose("#send [name=what]", "property set")
        page.find("#send button").click()
        page.wait(lambda: "bad" in page.find("#send output").get_attribute("class"), "the complaint")


def test_fault_switches_work_both_ways(page, cloud):
    switch = "#switches button:nth-child(1)"
    assert page.text(switch) == "Withhold acknowledgements"
    page.find(switch).click()
    page.wait(lambda: [f["kind"] for f in cloud.get("/faults")["faults"]] == ["puback"], "the fault")
    page.wait(lambda: page.find(switch).get_attribute("aria-pressed") == "true", "the switch")
    page.wait(lambda: [r[:2] for r in page.rows("#faults")] == [["puback", "everywhere"]], "the list")
    page.find(switch).click()
    page.wait(lambda: cloud.get("/faults")["faults"] == [], "the end of the fault")
    page.choose("#add-fault [name=kind]", "delay")
    page.fill("#add-fault [name=ms]", "50")
    page.fill("#add-fault [name=count]", "3")
    page.find("#add-fault button").click()
    page.wait(lambda: [(f["kind"], f["ms"], f["left"]) for f in cloud.get("/faults")["faults"]] == [("delay", 50, 3)], "the fault")


def test_stock_is_changed_from_the_page(page, cloud):
    page.browser.execute_script("document.querySelectorAll('#stock details').forEach(d => d.open = true)")
    page.fill("#add-product [name=productKey]", "a1PageMade1")
    page.find("#add-product button").click()
    page.wait(lambda: "a1PageMade1" in page.text("#products"), "the product")
    page.choose("#add-device [name=productKey]", "a1PageMade1")
    page.fill("#add-device [name=deviceName]", "page-0001")
    page.find("#add-device button").click()
    page.wait(lambda: cloud.request("GET", "/devices/a1PageMade1/page-0001")[0] == 200, "the device")
    page.wait(lambda: any("page-0001" in r[0] for r in page.rows("#devices")), "its row")
    page.click_row("#devices", "page-0001")
    page.wait(lambda: page.text("#detail-title") == "a1PageMade1/page-0001", "its details")
    page.find("#toggle-disabled").click()
    page.wait(lambda: cloud.device("a1PageMade1", "page-0001")["status"] == "DISABLED", "the bar")
    page.fill("#add-device [name=deviceName]", "x y")
    page.browser.execute_script("document.querySelector('#add-device [name=deviceName]').minLength = 0")
    page.find("#add-device button").click()
    page.wait(lambda: "4 to 32" in page.text("#add-device output"), "the error of the API")


def test_a_browser_speaks_mqtt_in_a_websocket(cloud, browser):
    """covers: H50. The bytes are ours, the WebSocket is Chromium's, with its extensions and its own idea of frames."""
    browser.get(cloud.base + "/stats")  # Chromium lets only what came from this machine connect to it
    browser.set_script_timeout(30)
    packets = [connect_packet(*credentials(DEV)), publish_packet(f"/{DEV[0]}/{DEV[1]}/user/update", b"b" * 100000, qos=1)]
    got = browser.execute_async_script("""
        const [url, packets, done] = arguments, got = [];
        const ws = new WebSocket(url, ['mqtt', 'mqttv3.1']);
        ws.binaryType = 'arraybuffer';
        ws.onopen = () => packets.forEach(p => ws.send(Uint8Array.from(atob(p), c => c.charCodeAt(0))));
        ws.onmessage = m => {
            got.push(...new Uint8Array(m.data));
            if (got.length >= 8) ws.close(1000);
        };
        ws.onclose = e => done([ws.protocol, got, e.code, e.wasClean]);
    """, f"ws://{cloud.mqtt[0]}:{cloud.mqtt[1]}/mqtt", [base64.b64encode(p).decode() for p in packets])
    assert got == ["mqtt", [0x20, 2, 0, 0, 0x40, 2, 0, 1], 1000, True]
    assert len(cloud.messages(topic="/+/+/user/update")) == 1


def test_what_exceeded_a_limit_and_what_a_fault_does_are_explained(page, cloud):
    page.wait(lambda: page.text("#violations") == "none", "no violation yet")
    clients = [Client(cloud, DEV) for _ in range(6)]
    for client in clients:
        client.close()
    page.wait(lambda: any(r[1] == f"{DEV[0]}/{DEV[1]}" for r in page.rows("#violations") if len(r) > 1), "the limit of connects")
    page.choose("#add-fault [name=kind]", "throttle")
    page.wait(lambda: "bytes a second" in page.text("#fault-help"), "the sentence")
    page.choose("#add-fault [name=channel]", "mqtt")
    page.fill("#add-fault [name=rate]", "1000")
    page.find("#add-fault button").click()
    page.wait(lambda: [r[:2] for r in page.rows("#faults")] == [["throttle", "mqttrate 1000"]], "how it strikes")
