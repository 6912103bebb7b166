"""What the terminals of JT/T 808 bring beyond the first thread: UDP, pictures in parts, reports made while the link was away."""
import socket
import struct
import threading

from conftest import wait_until
from gw import PK, device_name, phone, start_gateway, world  # noqa: F401
from terminal import Message, frame, location, unescape


class Datagrams:
    """A terminal on UDP: one frame a datagram, no connection."""

    def __init__(self, address, number):
        host, port = address.rsplit(":", 1)
        self.number, self.serial = number, 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(30)
        self.sock.connect((host, int(port)))

    def send(self, message_id, body=b""):
        self.sock.send(frame(message_id, self.number, self.serial, body))
        self.serial += 1

    def receive(self):
        return Message(unescape(self.sock.recv(4096)[1:-1])[:-1])

    def close(self):
        self.sock.close()


def test_a_terminal_on_udp_reports_and_is_commanded(world):
    cloud, gateway = world(transport="udp")
    t = Datagrams(gateway.address, phone(0))
    t.send(0x0100, bytes(4) + b"MAKER" + b"MODEL".ljust(20, b"\0") + b"T000001" + b"\x01AB123")
    answer = t.receive()
    assert answer.id == 0x8100 and answer.body[2] == 0
    t.send(0x0102, answer.body[3:])
    assert t.receive().body == struct.pack(">HHB", 1, 0x0102, 0)
    t.send(0x0200, location())
    assert t.receive().body == struct.pack(">HHB", 2, 0x0200, 0)
    cloud.wait_status(PK, device_name(0), "ONLINE")
    result = []
    caller = threading.Thread(target=lambda: result.append(
        cloud.post(f"/devices/{PK}/{device_name(0)}/services/SendText", {"text": "hi"})))
    caller.start()
    request = t.receive()
    assert request.id == 0x8300
    t.send(0x0001, struct.pack(">HHB", request.serial, 0x8300, 0))
    caller.join()
    assert result[0]["reply"]["code"] == 200
    t.close()


def test_a_picture_in_parts_becomes_a_file_and_an_event(world):
    cloud, gateway = world()
    head = struct.pack(">IBBBB", 77, 0, 0, 1, 1) + location()[:28]
    picture = b"\xff\xd8" + bytes(range(256)) * 9 + b"\xff\xd9"
    parts = [head + picture[:900], picture[900:1800], picture[1800:]]
    with gateway.terminal() as t:
        t.log_in()
        for index in (1, 3, 2):
            serial = t.send(0x0801, parts[index - 1], fragment=(3, index))
            assert t.expect_ack(serial, 0x0801) == 0
        assert t.receive_id(0x8800).body == struct.pack(">I", 77)
        wait_until(lambda: [p for p in (gateway.dir / "state" / "attachments").glob("*") if not p.name.startswith(".")],
                   "the picture in the attachment directory")
        sent = cloud.wait_message(topic=f"/sys/{PK}/{device_name(0)}/thing/event/MediaUploaded/post")
    files = [p for p in (gateway.dir / "state" / "attachments").glob("*") if not p.name.startswith(".")]
    assert [p.read_bytes() for p in files] == [picture]
    assert files[0].suffix == ".jpg"
    assert files[0].name in str(sent) and "77" in str(sent)


def test_stored_reports_arrive_with_their_own_times(world):
    cloud, gateway = world()
    with gateway.terminal() as t:
        t.log_in()
        item = location()
        body = struct.pack(">HB", 2, 1) + b"".join(struct.pack(">H", len(item)) + item for _ in range(2))
        assert t.expect_ack(t.send(0x0704, body), 0x0704) == 0
        wait_until(lambda: cloud.device(PK, device_name(0))["reported"].get("Replay"), "the replayed reports")
