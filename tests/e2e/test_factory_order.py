"""`causeway factory order`: certificates from the platform's management API into the stock, each ordered once whatever happens."""
import json
import os
import subprocess

import pytest
from conftest import BUILD, wait_until

PK, PS = "a1OrdProd01", "PSfedcba9876543210"
ACCOUNT = ("EmuAccessKeyId01", "EmuAccessKeySecret0123456789AB")


@pytest.fixture
def order(start_cloud, tmp_path):
    """order("--count", "3", .., crash=POINT) -> (exit status, output); with .cloud and .query()."""
    cloud = start_cloud()
    cloud.add_product(PK)
    (tmp_path / "ps").write_text(PS + "\n")
    (tmp_path / "access").write_text(ACCOUNT[1] + "\n")
    db = tmp_path / "factory.db"

    class Order:
        def run(self, *args, crash=None):
            env = {**os.environ, **({"CW_CRASH_AT": crash} if crash else {})}
            done = subprocess.run([BUILD / "bin" / "causeway", "factory", *map(str, args), "--db", db], env=env, timeout=120,
                                  capture_output=True, text=True)
            text = done.stdout + done.stderr
            assert PS not in text and ACCOUNT[1] not in text and "Sanitizer" not in text, text
            return done.returncode, text

        def __call__(self, *args, crash=None, account=ACCOUNT[0], endpoint=None):
            return self.run("order", *args, "--product-secret", f"file:{tmp_path}/ps", "--endpoint",
                            endpoint or "https://" + cloud.process.ready["https"], "--access-key", account, "--access-secret",
                            f"file:{tmp_path}/access", "--ca", cloud.ca, crash=crash)

        def new(self, count, *args, **more):
            return self("--product", PK, "--count", count, "--batch", "line-7", *args, **more)

        def rows(self):
            status, text = self.run("query", "--json", "--limit", 5000)
            assert status == 0, text
            return json.loads(text)

        def list(self):
            status, text = self.run("orders", "--json")
            assert status == 0, text
            return json.loads(text)

        def at_the_platform(self):
            return [d for d in cloud.get("/devices", limit=5000)["devices"] if d["productKey"] == PK]

    made = Order()
    made.cloud = cloud
    return made


@pytest.mark.parametrize("names", ["ours", "platform"])
def test_certificates_are_ordered_and_are_those_of_the_platform(order, names):
    """covers: C06 C04 C05"""
    status, text = order.new(120, "--names", names)
    assert status == 0 and "120 certificates are new" in text, text
    there = {d["deviceName"] for d in order.at_the_platform()}
    assert {r["deviceName"] for r in order.rows()} == there and len(there) == 120
    assert [(o["step"], o["count"]) for o in order.list()] == [("done", 120)]
    status, text = order("--resume")
    assert status == 1 and "no order waits" in text


@pytest.mark.parametrize("point", ["order.checked", "order.creating", "order.making", "order.created", "order.stored"])
def test_a_crash_at_any_step_neither_loses_nor_repeats_an_order(order, point):
    """covers: C06"""
    status, text = order.new(7, crash=point)
    assert status == -9, text
    status, text = order("--resume")
    assert status == 0, text
    there = {d["deviceName"] for d in order.at_the_platform()}
    assert len(there) == 7 and {r["deviceName"] for r in order.rows()} == there


def test_an_order_whose_answer_is_lost_is_not_repeated(order):
    assert order.new(5, "--names", "platform", crash="order.asked")[0] == -9
    status, text = order("--resume")
    assert status == 1 and "--apply-id" in text and "console" in text, text
    wait_until(lambda: len(order.at_the_platform()) == 5, "the platform's devices")
    batch = order.cloud.get("/batches")["batches"][-1]
    status, text = order("--resume", str(order.list()[0]["id"]), "--apply-id", batch["applyId"])
    assert status == 0, text
    assert len(order.at_the_platform()) == 5 == len(order.rows())


def test_an_order_can_be_forgotten(order):
    assert order.new(5, "--names", "platform", crash="order.asked")[0] == -9
    number = order.list()[0]["id"]
    assert order.run("order", "--forget", number)[0] == 0
    assert order.list()[0]["step"] == "failed" and "operator" in order.list()[0]["text"]
    status, text = order("--resume", number)
    assert status == 1 and "has ended" in text
    status, text = order.run("order", "--forget", 99)
    assert status == 1 and "no order 99" in text


def test_more_than_a_thousand_are_several_orders(order):
    status, text = order.new(1003)
    assert status == 0, text
    assert sorted(o["count"] for o in order.list()) == [3, 1000]
    assert len(order.rows()) == 1003


def test_a_platform_in_trouble_is_asked_again(order):
    order.cloud.fault("status", channel="openapi", code=503, count=3)
    status, text = order.new(3)
    assert status == 0 and len(order.rows()) == 3 == len(order.at_the_platform()), text


def test_the_platform_away_leaves_the_order_to_be_gone_on_with(order):
    endpoint = "https://" + order.cloud.process.ready["https"]
    order.cloud.stop()
    status, text = order.new(3, endpoint=endpoint)
    assert status == 1, text
    order.cloud.start()
    order.cloud.add_product(PK)
    status, text = order("--resume")
    assert status == 0 and len(order.rows()) == 3, text


@pytest.mark.parametrize("how,words", [
    (dict(account="Nobody"), ["InvalidAccessKeyId.NotFound", "accessKey"]),
])
def test_refusals_say_what_to_do(order, how, words):
    status, text = order.new(3, **how)
    assert status == 1 and all(w in text for w in words), text
    status, text = order("--product", "a1Nobody0001", "--count", "3", "--batch", "x")
    assert status == 1 and "iot.prod.NotExistedProduct" in text, text
    assert order.list()[0]["step"] == "failed"
    assert order.at_the_platform() == []


@pytest.mark.parametrize("args,words", [
    (["--count", "3", "--batch", "b"], "--product"),
    (["--product", PK, "--batch", "b"], "--count"),
    (["--product", PK, "--count", "0", "--batch", "b"], "--count"),
    (["--product", PK, "--count", "3", "--batch", "b", "--names", "random"], "ours or platform"),
    (["--resume", "x"], "no order's number"),
])
def test_wrong_command_lines(order, args, words):
    status, text = order(*args)
    assert status == 2 and words in text, text
