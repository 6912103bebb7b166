"""Modbus devices written from the standard: units with registers, behind a DTU that dials in with RTU or MBAP frames."""
import socket
import struct
import threading


def crc(data):
    value = 0xFFFF
    for b in data:
        value ^= b
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)


class Unit:
    """One slave. `silent` answers nothing; `refuse` is {(function, address): exception code}."""

    def __init__(self, holding=None, input=None, coils=None):
        self.holding, self.input, self.coils = dict(holding or {}), dict(input or {}), dict(coils or {})
        self.silent, self.refuse, self.seen = False, {}, []

    def answer(self, pdu):
        self.seen.append(pdu)
        fc, address, n = struct.unpack(">BHH", pdu[:5])
        if code := self.refuse.get((fc, address)):
            return bytes([fc | 0x80, code])
        if fc in (3, 4):
            bank = self.holding if fc == 3 else self.input
            if any(address + i not in bank for i in range(n)):
                return bytes([fc | 0x80, 2])
            return struct.pack(">BB", fc, 2 * n) + b"".join(struct.pack(">H", bank[address + i] & 0xFFFF) for i in range(n))
        if fc == 1:
            bits = sum(bool(self.coils.get(address + i)) << i for i in range(n))
            return struct.pack(">BB", fc, (n + 7) // 8) + bits.to_bytes((n + 7) // 8, "little")
        if fc == 5:
            self.coils[address] = n == 0xFF00
            return pdu
        if fc == 6:
            self.holding[address] = n
            return pdu
        if fc == 16:
            for i in range(n):
                self.holding[address + i] = struct.unpack(">H", pdu[6 + 2 * i:8 + 2 * i])[0]
            return pdu[:5]
        return bytes([fc | 0x80, 1])


class Dtu:
    """Dials, registers, then answers for its units in a thread of its own."""

    def __init__(self, address, registration, units, framing="rtu", heartbeat=b"", pieces=False):
        host, port = address.rsplit(":", 1)
        self.units, self.framing, self.heartbeat, self.pieces = units, framing, heartbeat, pieces
        self.sock = socket.create_connection((host, int(port)), 30)
        self.sock.settimeout(60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.closed = threading.Event()
        self.sock.sendall(registration)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def frames(self):
        data = b""
        while got := self.sock.recv(4096):
            data += got
            while len(data) >= 8:
                if self.framing == "tcp":
                    end = 6 + struct.unpack(">H", data[4:6])[0]
                else:
                    end = 9 + data[6] if data[1] in (15, 16) else 10 if data[1] == 22 else 8
                if len(data) < end:
                    break
                frame, data = data[:end], data[end:]
                if self.framing == "rtu":
                    assert crc(frame[:-2]) == frame[-2:], frame.hex()
                yield frame

    def run(self):
        try:
            for frame in self.frames():
                unit = self.units.get(frame[6] if self.framing == "tcp" else frame[0])
                if unit is None or unit.silent:
                    continue
                if self.framing == "tcp":
                    pdu = unit.answer(frame[7:])
                    out = frame[:4] + struct.pack(">HB", len(pdu) + 1, frame[6]) + pdu
                else:
                    out = frame[:1] + unit.answer(frame[1:-2])
                    out += crc(out)
                self.sock.sendall(self.heartbeat)
                for piece in ([out[:2], out[2:5], out[5:]] if self.pieces else [out]):
                    self.sock.sendall(piece)
        except OSError:
            pass
        self.closed.set()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self.thread.join(60)
