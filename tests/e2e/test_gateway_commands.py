"""Commands from the platform to a terminal: every way in, every way they can end."""
import json
import struct

from conftest import wait_until
from gw import PK, ask, device_name, device_path, phone, start_gateway, world  # noqa: F401

SET = {"HeartbeatInterval": 60}


def online(cloud, gateway, i=0):
    t = gateway.terminal(i).log_in()
    # Online comes first, the subscriptions after it, this one last; what has none is not sent.
    last = f"/{PK}/{device_name(i)}/user/#"
    wait_until(lambda: last in cloud.device(PK, device_name(i)).get("subscriptions", []), f"{last} to be subscribed")
    return t


def settled(gateway, result):
    """Lines of the log about commands that ended so."""
    return [line for line in gateway.log_lines("command.settled") if f"result={result}" in line]


def test_a_property_set_is_answered_when_the_terminal_has_answered(world):
    """covers: M32 K13 L07"""
    cloud, gateway = world()
    with online(cloud, gateway) as t:
        join = ask(cloud, 0, "/properties", SET)
        request = t.receive_id(0x8103)
        assert request.body == bytes([1]) + struct.pack(">IBI", 1, 4, 60)
        assert gateway.device(0)["commands"] == 1
        t.general_reply(request)
        status, answer = join()
        assert status == 200 and answer["reply"]["code"] == 200
        assert gateway.device(0)["commands"] == 0
        assert gateway.stats()["bridge.commands_answered"] == 1
        assert len(settled(gateway, "answered")) == 1


def test_the_terminals_refusal_is_the_platforms_answer(world):
    """covers: M32 K13"""
    cloud, gateway = world()
    with online(cloud, gateway) as t:
        for result, code in ((1, 500), (2, 400), (3, 501)):
            join = ask(cloud, 0, "/services/SendText", {"text": "x"})
            t.general_reply(t.receive_id(0x8300), result)
            assert join()[1]["reply"]["code"] == code
        assert gateway.stats()["bridge.commands_refused"] == 3


def test_input_that_the_protocol_cannot_say_is_refused_without_asking_the_terminal(world):
    """covers: M32"""
    cloud, gateway = world()
    with online(cloud, gateway) as t:
        for rest, body, code in (("/properties", {"NoSuchThing": 1}, 460), ("/properties", {"HeartbeatInterval": "soon"}, 460),
                                 ("/services/NoSuchService", {}, 501)):
            status, answer = ask(cloud, 0, rest, body)()
            assert status == 200 and answer["reply"]["code"] == code, (rest, body, answer)
        serial = t.send(0x0002)
        assert t.receive().body[:2] == struct.pack(">H", serial)  # nothing else was sent
        assert gateway.stats()["bridge.commands_refused"] == 3


def test_a_device_without_a_connection_is_offline(world):
    """covers: M32"""
    cloud, gateway = world()
    online(cloud, gateway).close()
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    status, answer = ask(cloud, 0, "/properties", SET)()
    assert status == 409 and answer["result"] == "offline"  # the platform itself knows


def test_a_terminal_that_does_not_answer_costs_its_command_and_nothing_else(world):
    """covers: M32 M33"""
    cloud, gateway = world(extra="commands { timeout = 1s }")
    with online(cloud, gateway) as t:
        join = ask(cloud, 0, "/properties", SET)
        t.receive_id(0x8103)
        status, answer = join()
        assert status == 200 and answer["reply"]["code"] == 408
        assert gateway.stats()["bridge.commands_timed_out"] == 1
        join = ask(cloud, 0, "/services/SendText", {"text": "after"})
        t.general_reply(t.receive_id(0x8300))
        assert join()[1]["reply"]["code"] == 200


def test_a_connection_that_ends_ends_its_commands(world):
    """covers: M32"""
    cloud, gateway = world()
    t = online(cloud, gateway)
    ask_one, ask_two = ask(cloud, 0, "/properties", SET, **{"async": 1}), ask(cloud, 0, "/properties", SET, **{"async": 1})
    ask_one(), ask_two()
    t.receive_id(0x8103)
    gateway.wait_stat("bridge.commands_accepted", 2)
    t.close()
    gateway.wait_stat("bridge.commands_offline", 2)


def test_a_repeated_request_runs_once(world):
    """covers: M32 H03"""
    cloud, gateway = world()
    topic = f"/sys/{PK}/{device_name(0)}/thing/service/property/set"
    body = json.dumps({"id": "4711", "version": "1.0", "method": "thing.service.property.set", "params": SET}).encode()
    with online(cloud, gateway) as t:
        for _ in range(2):
            cloud.post(device_path(0) + "/raw", body, topic=topic, qos=1)
        gateway.wait_stat("bridge.commands_repeated", 1)
        t.general_reply(t.receive_id(0x8103))
        reply = cloud.wait_message(topic=topic + "_reply", direction="up")
        assert json.loads(reply["payload"])["id"] == "4711"
        serial = t.send(0x0002)
        assert t.receive().body[:2] == struct.pack(">H", serial)
        assert gateway.stats()["bridge.commands_accepted"] == 1
        assert len(cloud.messages(topic=topic + "_reply", direction="up")) == 1


def test_only_so_many_commands_wait_for_one_device(world):
    """covers: M33"""
    cloud, gateway = world()
    with online(cloud, gateway, 0) as t, online(cloud, gateway, 1) as other:
        joins = [ask(cloud, 0, "/services/SendText", {"text": str(n)}) for n in range(20)]
        gateway.wait_stat("bridge.commands_refused", 4)
        join = ask(cloud, 1, "/properties", SET)  # another device does not wait for this one
        other.general_reply(other.receive_id(0x8103))
        assert join()[1]["reply"]["code"] == 200
        for _ in range(16):
            t.general_reply(t.receive_id(0x8300))
        codes = sorted(join()[1]["reply"]["code"] for join in joins)
        assert codes == [200] * 16 + [429] * 4


def test_two_devices_are_commanded_at_once(world):
    cloud, gateway = world()
    with online(cloud, gateway, 0) as a, online(cloud, gateway, 1) as b:
        joins = [ask(cloud, i, "/properties", {"HeartbeatInterval": 60 + i}) for i in (0, 1)]
        requests = [t.receive_id(0x8103) for t in (a, b)]
        assert [r.body[-1] for r in requests] == [60, 61]
        b.general_reply(requests[1])
        assert joins[1]()[1]["reply"]["code"] == 200
        a.general_reply(requests[0], 1)
        assert joins[0]()[1]["reply"]["code"] == 500


def test_a_synchronous_service_is_answered_within_its_time(world):
    """covers: H07 K13"""
    cloud, gateway = world()
    with online(cloud, gateway) as t:
        join = ask(cloud, 0, "/services/SendText", {"text": "now"}, sync=1)
        t.general_reply(t.receive_id(0x8300))
        status, answer = join()
        assert status == 200 and answer["reply"]["code"] == 200


def test_a_remote_call_in_raw_bytes_reaches_the_terminal_and_comes_back(world):
    """covers: H07 M30"""
    cloud, gateway = world()
    with online(cloud, gateway) as t:
        join = ask(cloud, 0, "/rrpc", b"\x82\x01")
        request = t.receive_id(0x8201)
        t.send(0x0201, struct.pack(">H", request.serial) + bytes(range(28)))
        status, answer = join()
        assert status == 200 and answer["result"] == "answered"
        assert bytes(range(28)).hex() in answer.get("payloadHex", answer.get("payload", "").encode("latin1").hex())


def test_raw_bytes_go_down_on_a_topic_of_the_device(world):
    """covers: K12 M30"""
    cloud, gateway = world()
    with online(cloud, gateway) as t:
        cloud.post(device_path(0) + "/raw", b"\x89\x00\x41\x00\xff\x7e\x7d", topic=f"/{PK}/{device_name(0)}/user/get", qos=1)
        request = t.receive_id(0x8900)
        assert request.body == b"\x41\x00\xff\x7e\x7d"


def test_a_message_that_no_decoder_knows_goes_up_as_it_is(world):
    """covers: M30 M41 M42"""
    cloud, gateway = world()
    with online(cloud, gateway) as t:
        serial = t.send(0x0f55, b"\x00\xff\x7e\x7d\x00")
        assert t.expect_ack(serial, 0x0f55) == 0
        message = cloud.wait_message(topic=f"/sys/{PK}/{device_name(0)}/thing/event/RawUplink/post", direction="up")
        value = json.loads(message["payload"])["params"]["value"]
        assert message["outcome"] == "taken"
        assert value["bodyHex"] == "00ff7e7d00" and value["messageId"].lower() == "0x0f55"


def test_a_disabled_device_is_told_to_the_operator_and_flows_again_when_enabled(world):
    """covers: K14 L06"""
    cloud, gateway = world()
    with online(cloud, gateway, 0) as t, online(cloud, gateway, 1):
        cloud.post(device_path(0) + "/disable")
        gateway.wait_state(0, "refused")
        assert t.report_acked(speed=9) == 0  # received; it waits
        gateway.wait_log("device.refused")
        assert cloud.device(PK, device_name(1))["status"] == "ONLINE"
        cloud.post(device_path(0) + "/enable")
        cloud.wait_status(PK, device_name(0), "ONLINE")
        wait_until(lambda: cloud.device(PK, device_name(0))["reported"].get("Speed", {}).get("value") == 0.9, "the report")


def test_a_deleted_device_is_refused_and_the_others_stay(world):
    """covers: K14 L06"""
    cloud, gateway = world()
    with online(cloud, gateway, 0), online(cloud, gateway, 1) as other:
        cloud.delete(device_path(0))
        gateway.wait_state(0, "refused")
        assert other.report_acked() == 0
        assert cloud.device(PK, device_name(1))["status"] == "ONLINE"


def test_a_command_ends_when_its_terminal_is_superseded_and_the_next_goes_to_the_newer(world):
    """covers: M23 M32"""
    cloud, gateway = world()
    with online(cloud, gateway) as old:
        join = ask(cloud, 0, "/properties", SET)
        old.receive_id(0x8103)
        with gateway.terminal(0).log_in() as new:
            assert old.is_closed()
            assert join()[1]["reply"]["code"] == 404
            join = ask(cloud, 0, "/properties", SET)
            new.general_reply(new.receive_id(0x8103))
            assert join()[1]["reply"]["code"] == 200


def test_commands_wait_for_nobody_while_the_bridge_is_away(world):
    """covers: H03 M32"""
    cloud, gateway = world(upstream="retryMin = 100ms, retryMax = 200ms")
    with online(cloud, gateway) as t:
        cloud.fault("cut")
        cloud.wait_status(PK, device_name(0), "OFFLINE")
        cloud.wait_status(PK, device_name(0), "ONLINE")
        join = ask(cloud, 0, "/properties", SET)
        t.general_reply(t.receive_id(0x8103))
        assert join()[1]["reply"]["code"] == 200


def test_an_answer_that_nobody_asked_for_changes_nothing(world):
    cloud, gateway = world()
    with online(cloud, gateway) as t:
        t.send(0x0001, struct.pack(">HHB", 999, 0x8103, 0))
        join = ask(cloud, 0, "/properties", SET)
        request = t.receive_id(0x8103)
        t.send(0x0001, struct.pack(">HHB", (request.serial + 1) & 0xFFFF, 0x8103, 0))
        t.general_reply(request)
        assert join()[1]["reply"]["code"] == 200
        assert gateway.stats()["bridge.commands_answered"] == 1
        assert phone(0) == gateway.device(0)["identity"]
