"""Writes pcap and pcapng files of TCP and UDP: the packets a test wants, as well or as badly as it wants them."""
import ipaddress
import struct

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ETHERNET, NULL, RAW, LOOP, SLL, SLL2 = 1, 0, 101, 108, 113, 276
START = 1_767_225_600_000_000  # microseconds: 2026-01-01T00:00:00Z


def ip(src, dst, protocol, payload, extensions=b""):
    src, dst = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    if src.version == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, protocol, 0)
        return head + src.packed + dst.packed + payload
    first = 0 if extensions else protocol
    return struct.pack(">IHBB", 6 << 28, len(extensions) + len(payload), first, 64) + src.packed + dst.packed + extensions + payload


def link(kind, packet, vlan=0):
    v6 = packet[0] >> 4 == 6
    ethertype = 0x86DD if v6 else 0x0800
    if kind == ETHERNET:
        tags = b"".join(struct.pack(">HH", 0x8100, 7) for _ in range(vlan))
        frame = bytes(12) + tags + struct.pack(">H", ethertype) + packet
        return frame + bytes(max(0, 60 - len(frame)))  # short frames are padded on the wire
    if kind == NULL:
        return struct.pack("<I", 30 if v6 else 2) + packet
    if kind == LOOP:
        return struct.pack(">I", 24 if v6 else 2) + packet
    if kind == SLL:
        return struct.pack(">HHH8sH", 0, 1, 6, bytes(8), ethertype) + packet
    if kind == SLL2:
        return struct.pack(">HHIHBB8s", ethertype, 0, 1, 1, 0, 6, bytes(8)) + packet
    return packet


class Wire:
    """Packets in the order of their capture; each write() is one packet of one side."""

    def __init__(self, kind=ETHERNET, vlan=0, extensions=b""):
        self.kind, self.vlan, self.extensions = kind, vlan, extensions
        self.packets, self.now = [], START

    def put(self, src, dst, protocol, payload, cut=0):
        whole = link(self.kind, ip(src, dst, protocol, payload, self.extensions), self.vlan)
        self.packets.append((self.now, whole[:len(whole) - cut], len(whole)))
        self.now += 10_000

    def udp(self, src, dst, data):
        (a, p), (b, q) = src, dst
        self.put(a, b, 17, struct.pack(">HHHH", p, q, 8 + len(data), 0) + data)

    def pcap(self, order="<", nano=False):
        magic = 0xA1B23C4D if nano else 0xA1B2C3D4
        out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, self.kind)
        for when, data, wire in self.packets:
            out += struct.pack(order + "IIII", when // 1_000_000, when % 1_000_000 * (1000 if nano else 1), len(data), wire) + data
        return out

    def pcapng(self, order="<", nano=False, simple=False):
        def block(kind, body):
            body += bytes(-len(body) % 4)
            return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))
        resolution = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0) if nano else b""
        out = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
        out += block(1, struct.pack(order + "HHI", self.kind, 0, 262144) + resolution)
        out += block(4, b"\0\0\0\0")  # names: to be passed over
        for when, data, wire in self.packets:
            ticks = when * (1000 if nano else 1)
            if simple:
                out += block(3, struct.pack(order + "I", wire) + data)
            else:
                out += block(6, struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire) + data)
        return out


class Tcp:
    """One connection over a Wire: up() from the device, down() to it, each with the flags and numbers of a real one."""

    def __init__(self, wire, device=("10.0.0.5", 40001), server=("10.0.0.1", 7611), seq=0xFFFFFF00, syn=True):
        self.wire, self.ends = wire, (device, server)
        self.seq = [seq, 5000]
        if syn:
            self.send(0, b"", SYN)
            self.send(1, b"", SYN | ACK)

    def send(self, side, data, flags=PSH | ACK, seq=None, cut=0, record=True):
        (a, p), (b, q) = self.ends[side], self.ends[1 - side]
        at = self.seq[side] if seq is None else seq
        head = struct.pack(">HHIIBBHHH", p, q, at & 0xFFFFFFFF, self.seq[1 - side] & 0xFFFFFFFF, 5 << 4, flags, 65535, 0, 0)
        if record:
            self.wire.put(a, b, 6, head + data, cut)
        if seq is None:
            self.seq[side] += len(data) + (1 if flags & (SYN | FIN) else 0)

    def up(self, data, **how):
        self.send(0, data, **how)

    def down(self, data, **how):
        self.send(1, data, **how)

    def close(self):
        self.send(0, b"", FIN | ACK)
        self.send(1, b"", FIN | ACK)
