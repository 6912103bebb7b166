"""A platform that is not ours: python3-h2 below, a script above. It answers as the bridge channel does, as far as the script
lets it, and pushes in whatever form is asked for.

The HTTP/2 library writes what it knows to write; frames that it would refuse to write (HEADERS on even streams that nobody was
promised) are made by hand, their header blocks with the connection's own HPACK encoder, so that both tables move on.
"""
import base64
import http.server
import json
import socket
import ssl
import threading
import urllib.parse

import h2.config
import h2.connection
import h2.events
import h2.settings
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PushPromiseFrame

GW = "a1EmuGw0001/gw-0001"


class Request:
    def __init__(self, link, stream, headers):
        self.link, self.stream = link, stream
        self.headers = {k.decode(): v.decode() for k, v in headers}
        self.body, self.answered = b"", False

    @property
    def path(self):
        return self.headers[":path"]

    @property
    def envelope(self):
        return json.loads(self.body)

    @property
    def payload(self):
        return json.loads(base64.b64decode(self.envelope["params"]["payload"]))


class Link:
    """One connection of the gateway."""

    def __init__(self, peer, sock):
        self.peer, self.sock, self.lock = peer, sock, threading.RLock()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self.requests, self.pings, self.settings, self.goaway, self.resets = {}, [], {}, None, []
        self.next_push, self.alpn = 2, sock.selected_alpn_protocol()
        self.closed = False
        if peer.settings:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=peer.settings)
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        with self.lock:
            data = self.h2.data_to_send()
            if data:
                self.send(data)

    def send(self, data):
        with self.lock:
            for i in range(0, len(data), self.peer.piece):
                self.sock.sendall(data[i:i + self.peer.piece])

    def run(self):
        try:
            while True:
                data = self.sock.recv(65536)
                if not data:
                    break
                with self.lock:
                    for event in self.h2.receive_data(data):
                        self.on_event(event)
                self.flush()
        except (OSError, h2.exceptions.ProtocolError) as e:
            self.peer.trouble.append(repr(e))
        self.closed = True
        self.sock.close()

    def on_event(self, e):
        if isinstance(e, h2.events.RequestReceived):
            self.requests[e.stream_id] = Request(self, e.stream_id, e.headers)
        elif isinstance(e, h2.events.DataReceived):
            self.requests[e.stream_id].body += e.data
            if not self.peer.no_credit:
                self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
        elif isinstance(e, h2.events.StreamEnded):
            r = self.requests[e.stream_id]
            with self.peer.changed:
                self.peer.requests.append(r)
                self.peer.changed.notify_all()
            self.peer.on_request(r)
        elif isinstance(e, h2.events.StreamReset):
            self.resets.append((e.stream_id, e.error_code))
        elif isinstance(e, h2.events.RemoteSettingsChanged):
            self.settings.update({int(k): v.new_value for k, v in e.changed_settings.items()})
        elif isinstance(e, h2.events.PingReceived):
            self.pings.append(e.ping_data)
        elif isinstance(e, h2.events.ConnectionTerminated):
            self.goaway = e.error_code

    def answer(self, r, status=200, headers=(), body=b""):
        with self.lock:
            r.answered = True
            self.h2.send_headers(r.stream, [(":status", str(status)), ("x-request-id", "1"), *headers], end_stream=not body)
            if body:
                self.h2.send_data(r.stream, body, end_stream=True)
            self.flush()

    def reset(self, r, code=2):
        with self.lock:
            self.h2.reset_stream(r.stream, code)
            self.flush()

    def go_away(self, last=None, code=0):
        with self.lock:
            self.h2.close_connection(code, last_stream_id=last)
            self.flush()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    # ---- pushes ----

    def block(self, headers):
        return self.h2.encoder.encode([(k.encode(), v.encode()) for k, v in headers])

    def push(self, body, message_id="9000000001", qos=1, topic=None, form="bare", status="200"):
        """One message. Forms: bare, continued (three frames of headers, padded data), trailers, promise (on the stream of a
        request that has ended), bytes (each byte in a TLS record of its own)."""
        headers = [(":status", status), ("x-topic", topic or f"/sys/{GW}/bridge/push")]
        headers += [("x-message-id", message_id)] if message_id else []
        headers += [("x-qos", str(qos))] if qos is not None else []
        headers += [("x-generate-time", "1795243062208"), ("x-unknown", "x" * 40)]
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        with self.lock:
            self.flush()
            stream, self.next_push = self.next_push, self.next_push + 2
            if form == "promise":
                p = PushPromiseFrame(3, promised_stream_id=stream, data=self.block([(":method", "GET"), (":path", "/push")]))
                p.flags.add("END_HEADERS")
                self.send(p.serialize())
            frames = self.frames(form, stream, headers, body)
            data = b"".join(f.serialize() for f in frames)
            if form == "bytes":
                for i in range(len(data)):
                    self.sock.sendall(data[i:i + 1])
            else:
                self.send(data)
        return stream

    def frames(self, form, stream, headers, body):
        block = self.block(headers)
        if form == "continued":
            frames = [HeadersFrame(stream, data=block[:3]), ContinuationFrame(stream, data=block[3:20]),
                      ContinuationFrame(stream, data=block[20:])]
            frames[0].flags |= {"PRIORITY"}
            frames[2].flags.add("END_HEADERS")
            parts = [body[:7], b"", body[7:]]
            for part in parts:
                d = DataFrame(stream, data=part, pad_length=9)
                d.flags.add("PADDED")
                frames.append(d)
        else:
            frames = [HeadersFrame(stream, data=block)]
            frames[0].flags.add("END_HEADERS")
            frames += [DataFrame(stream, data=body[i:i + 16384]) for i in range(0, len(body), 16384)]
        if form == "trailers":
            frames.append(HeadersFrame(stream, data=self.block([("x-late", "1"), ("x-topic", "/not/this")])))
            frames[-1].flags |= {"END_HEADERS", "END_STREAM"}
        else:
            frames[-1].flags.add("END_STREAM")
        return frames


class Peer:
    """Server and authentication endpoint with one certificate (files of the emulator's)."""

    def __init__(self, certificate, key, settings=None, alpn=("h2",), family=socket.AF_INET):
        self.settings, self.piece, self.no_credit = settings, 1 << 20, False
        self.requests, self.links, self.trouble, self.forms = [], [], [], []
        self.changed = threading.Condition()
        self.script = {}     # path or its last word -> function(link, request), or None: no answer
        self.auth = None     # function(form) -> reply, or None: the usual one
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        if alpn:
            self.context.set_alpn_protocols(list(alpn))
        self.listener = socket.create_server(("127.0.0.1" if family == socket.AF_INET else "::1", 0), family=family)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        peer = self

        class Auth(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                form = dict(p.split("=", 1) for p in self.rfile.read(int(self.headers["Content-Length"])).decode().split("&"))
                with peer.changed:
                    peer.forms.append(form)
                    peer.changed.notify_all()
                reply = peer.auth(form) if peer.auth else None
                body = json.dumps(reply or {"code": "200", "data": {"netId": "net0001"}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        self.https = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Auth)
        plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        plain.load_cert_chain(certificate, key)
        self.https.socket = plain.wrap_socket(self.https.socket, server_side=True)
        self.https.daemon_threads = True
        threading.Thread(target=self.https.serve_forever, daemon=True).start()

    def accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(self, self.context.wrap_socket(raw, server_side=True))
        except OSError as e:
            self.trouble.append(repr(e))
            return
        with self.changed:
            self.links.append(link)
            self.changed.notify_all()
        link.run()

    def on_request(self, r):
        for name in (r.path, r.path.rsplit("/", 1)[-1]):
            if name in self.script:
                if self.script[name]:
                    self.script[name](r.link, r)
                return
        r.link.answer(r, headers=[("x-message-id", "1")])

    def of(self, name):
        return [r for r in self.requests if r.path.endswith(name)]

    def wait(self, name, count=1, timeout=30):
        """`count` requests whose path ends with `name`."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.of(name)) >= count, timeout), (name, [r.path for r in self.requests])
        return self.of(name)

    def wait_links(self, count, timeout=30):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.links) >= count, timeout), self.trouble
        return self.links[count - 1]

    @property
    def link(self):
        return self.links[-1]

    def stop(self):
        self.listener.close()
        self.https.shutdown()
        self.https.server_close()
        for link in self.links:
            link.close()
