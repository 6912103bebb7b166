"""The thread through everything: a terminal registers, reports, is commanded, and the platform sees all of it."""
import struct
import threading

from gw import PK, device_name, start_gateway, wait_reported, world  # noqa: F401


def command(cloud, path, body):
    """Send a command from the platform on a thread; join() gives the answer."""
    result = []
    t = threading.Thread(target=lambda: result.append(cloud.post(path, body)))
    t.start()

    def join():
        t.join()
        return result[0]
    return join


def test_a_terminal_reports_and_is_commanded(world):
    """covers: M03 M04 M06 M07 M11 M12 M20 M21 M40 K01 L03 L07"""
    cloud, gateway = world()
    with gateway.terminal() as t:
        t.log_in()
        cloud.wait_status(PK, device_name(0), "ONLINE")
        assert t.report_acked() == 0
        assert wait_reported(cloud, 0, "Speed") == 60.5
        assert wait_reported(cloud, 0, "GeoLocation")["Longitude"] == 121.473701

        join = command(cloud, f"/devices/{PK}/{device_name(0)}/properties", {"HeartbeatInterval": 60})
        request = t.receive_id(0x8103)
        assert request.body == bytes([1]) + struct.pack(">IBI", 1, 4, 60)
        t.general_reply(request)
        answer = join()
        assert answer["result"] == "answered" and answer["reply"]["code"] == 200

        join = command(cloud, f"/devices/{PK}/{device_name(0)}/services/SendText", {"text": "你好", "tts": True})
        request = t.receive_id(0x8300)
        assert request.body[1:] == "你好".encode("gbk")
        t.general_reply(request)
        assert join()["reply"]["code"] == 200
    cloud.wait_status(PK, device_name(0), "OFFLINE")
