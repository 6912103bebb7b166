"""A distribution server as the documents describe it, in memory: the older servers that clients of ours meet. Raw sockets, so that it can answer in
every way a server can: each answer's form is a function below, and `mishaps` are what happens to the next connections instead.
"""
import json
import re
import socketserver
import threading
import zlib


def crc(cert, order=("ProductKey", "DeviceName", "DeviceSecret", "ProductSecret")):
    return zlib.crc32("".join(cert[part] for part in order).encode() + str(cert.get("ProductID", "")).encode())


# ---- how an answer travels: bytes of the whole, from status and body ------------------------

def http10_closed(status, body):
    return b"HTTP/1.0 %d x\r\nServer: BaseHTTP/0.6\r\nContent-Type: text/html\r\n\r\n" % status + body


def counted(status, body):
    return b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body


def chunked(status, body):
    pieces = [body[i:i + 17] for i in range(0, len(body), 17)]
    return b"HTTP/1.1 %d x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" % status \
        + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


FORMS = {"http10_closed": http10_closed, "counted": counted, "chunked": chunked}


class LinePeer:
    def __init__(self, stock=100, form=http10_closed, number=True, with_id=False, product="a1B2c3D4e5F", extra=None, family="127.0.0.1"):
        self.form, self.number, self.with_id, self.product, self.extra = form, number, with_id, product, extra or {}
        self.free = [f"board-{i:04}" for i in range(1, stock + 1)]
        self.allocated = {}   # DeviceID -> name
        self.written = set()  # DeviceIDs
        self.requests = []    # (headers, body as dict)
        self.mishaps = []     # functions of (connection, answer) for the connections to come; None: this one is served
        self.slow = False     # byte by byte
        self.refuse = {}      # Action -> Status
        self.lock = threading.Lock()
        peer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                peer.serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 100
            address_family = socketserver.socket.AF_INET6 if ":" in family else socketserver.socket.AF_INET

        self.server = Server((family, 0), Handler)
        self.port = self.server.server_address[1]
        self.address = f"[{family}]:{self.port}" if ":" in family else f"{family}:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def actions(self, device_id=None):
        return [body["Action"] for _, body in self.requests if device_id is None or body.get("DeviceID") == device_id]

    # ---- one connection ----------------------------------------------------------------------

    @staticmethod
    def receive(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            got = connection.recv(4096)
            if not got:
                return None, None
            data += got
        head, body = data.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)[1])
        while len(body) < length:
            body += connection.recv(4096)
        return head.decode(), json.loads(body)

    def serve(self, connection):
        connection.settimeout(30)
        try:
            head, body = self.receive(connection)
            if head is None:
                return
            with self.lock:
                mishap = self.mishaps.pop(0) if self.mishaps else None
                answer = self.form(200, json.dumps(self.answer(head, body)).encode())
            if mishap is not None:
                mishap(connection, answer)
            elif self.slow:
                for byte in answer:
                    connection.sendall(bytes([byte]))
            else:
                connection.sendall(answer)
        except OSError:
            pass  # the client has gone

    def certificate(self, name, device_id):
        cert = {"ProductKey": self.product, "DeviceName": name, "DeviceSecret": f"{int(name[-4:]):032x}",
                "ProductSecret": "PSfedcba9876543210", **self.extra}
        value = crc(cert)
        cert["CRC32"] = value if self.number else f"{value:08X}"
        if self.with_id:
            cert["DeviceID"] = device_id
        return {**cert, "Status": "OK"}

    def answer(self, head, body):
        self.requests.append((head, body))
        device_id = body.get("DeviceID") or None
        if body["Action"] in self.refuse:
            return {"ProductKey": body["ProductKey"], "DeviceID": device_id, "Status": self.refuse[body["Action"]], "Message": "it is so\x1b[31m"}
        if body["Action"] == 1:
            if device_id not in self.allocated:
                return {"ProductKey": body["ProductKey"], "DeviceID": device_id, "Status": "UNKNOWN_DEVICE"}
            self.written.add(device_id)
            return {"ProductKey": body["ProductKey"], "DeviceID": device_id, "Status": "OK"}
        if device_id in self.allocated:
            return self.certificate(self.allocated[device_id], device_id)
        if not self.free:
            return {"ProductKey": body["ProductKey"], "DeviceID": device_id, "Status": "OUT_OF_STOCK"}
        name = self.free.pop(0)
        if device_id is None and self.with_id:
            device_id = f"CW{int(name[-4:]):016X}"
        if device_id is not None:
            self.allocated[device_id] = name
        return self.certificate(name, device_id)


# ---- mishaps ---------------------------------------------------------------------------------

def dropped(connection, answer):
    """Closed without a word."""


def empty(connection, answer):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def truncated(connection, answer):
    """Says how long it is, and ends before."""
    connection.sendall(counted(200, answer.split(b"\r\n\r\n", 1)[1])[:-9])


def cut(connection, answer):
    """Nobody said how long it is: only the JSON tells."""
    connection.sendall(answer[:-9])


def page(connection, answer):
    connection.sendall(counted(502, b"<html><body>Bad gateway</body></html>"))


def wrong_crc(connection, answer):
    head, body = answer.split(b"\r\n\r\n", 1)
    reply = json.loads(body)
    reply["DeviceSecret"] = reply["DeviceSecret"][:-1] + "x"
    connection.sendall(counted(200, json.dumps(reply).encode()))


def endless(connection, answer):
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        connection.sendall(b" " * 65536)


def busy(connection, answer):
    connection.sendall(b"HTTP/1.1 503 x\r\nRetry-After: 1\r\nContent-Length: 17\r\n\r\n" + b'{"Status":"BUSY"}')
