"""What the chaos suite is made of: devices that come, go and count, a pipe that misbehaves, and a platform that may be killed."""
import collections
import random
import select
import socket
import threading
import time

from conftest import wait_until
from gw import phone
from test_gateway_records import record

DONE, PENDING, REFUSED, LOST = 0, 1, 2, 3


class Roamer(threading.Thread):
    """A device behind the probe plugin that emits N = 0, 1, 2 .. as long as it may, answers commands, and comes back when it is thrown out.

    `outcomes[n]` is all it was ever told about record n, with the time; a record whose connection ended is in `orphans`.
    """

    def __init__(self, address, i, chance, window=8):
        super().__init__(daemon=True)
        self.address, self.i, self.chance, self.window = address, i, chance, window
        self.next = 0
        self.outcomes = collections.defaultdict(list)
        self.orphans = set()
        self.waiting = set()
        self.commands = []
        self.emitting = threading.Event()
        self.ending = threading.Event()
        self.problem = None
        self.connects = 0
        self.emitting.set()

    def run(self):
        try:
            while not self.ending.is_set():
                try:
                    self.session()
                except OSError:
                    pass
                self.orphans |= self.waiting
                self.waiting.clear()
                self.ending.wait(0.1)
        except Exception as problem:  # seen by whoever looks at the end
            self.problem = repr(problem)

    def session(self):
        host, port = self.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), 10) as self.sock:
            self.pending, self.online, self.asked = b"", False, collections.deque()
            self.connects += 1
            self.say(f"I {phone(self.i)}", None)
            while not self.ending.is_set():
                if self.online and self.emitting.is_set() and len(self.waiting) < self.window:
                    n = self.next
                    self.next += 1
                    self.waiting.add(n)
                    self.say(f"E {n + 1} " + record(1, {"N": n}, time=int(time.time() * 1000)), n)
                if not self.read(0.005 if self.online and len(self.waiting) < self.window else 0.1):
                    return

    def say(self, line, n):
        self.asked.append(n)
        self.sock.sendall(line.encode() + b"\n")

    def read(self, patience):
        if select.select([self.sock], [], [], patience)[0]:
            data = self.sock.recv(65536)
            if not data:
                return False
            *lines, self.pending = (self.pending + data).split(b"\n")
            for line in lines:
                self.hear(line.decode())
        return True

    def hear(self, line):
        word, *rest = line.split(" ")
        if word == "rc":
            n = self.asked.popleft()
            if rest[0] != "0" and n is not None:
                self.waiting.discard(n)
                self.outcomes[n].append((f"rc {rest[0]}", time.time()))
        elif word == "identified":
            self.online = True
        elif word == "settled":
            n = int(rest[0]) - 1
            self.outcomes[n].append((int(rest[1]), time.time()))
            self.waiting.discard(n)
        elif word == "command":
            self.commands.append((self.connects, rest[0]))
            if self.chance.random() < 0.9:
                self.say(f"A {rest[0]} 200", None)

    def told(self, code):
        return {n: when for n, answers in list(self.outcomes.items()) for got, when in list(answers) if got == code}


class Pipe:
    """A TCP relay between the gateway and its platform that stalls, cuts, resets, dribbles and refuses as it is told."""

    def __init__(self, target, chance):
        self.target, self.chance = target, chance
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port = self.listener.getsockname()[1]
        self.stalled = threading.Event()
        self.dribble = self.refusing = self.ended = False
        self.pairs = []
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            if self.ended:
                near.close()
                return
            try:
                far = None if self.refusing else socket.create_connection(self.target, 5)
            except OSError:
                far = None
            if far is None:
                near.close()
                continue
            self.pairs.append((near, far))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.relay, args=(a, b), daemon=True).start()

    def relay(self, a, b):
        try:
            while data := a.recv(1 if self.dribble and self.chance.random() < 0.5 else 16384):
                while self.stalled.is_set() and not self.ended:
                    time.sleep(0.02)
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (a, b):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def cut(self, reset=False):
        pairs, self.pairs = self.pairs, []
        for near, far in pairs:
            for s in (near, far):
                try:
                    if reset:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    s.shutdown(socket.SHUT_RDWR)
                    s.close()
                except OSError:
                    pass

    def calm(self):
        self.stalled.clear()
        self.dribble = self.refusing = False

    def close(self):
        self.ended = True
        self.calm()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()  # wakes accept()
        except OSError:
            pass
        self.thread.join()
        self.listener.close()
        self.cut()


class Storm:
    """Faults at random until it has blown long enough; then there is none left."""

    def __init__(self, world, pipes, chance, seconds, kinds):
        self.world, self.pipes, self.chance, self.seconds = world, pipes, chance, seconds
        self.kinds = kinds
        self.history = []

    def blow(self):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            kind = self.chance.choice(self.kinds)
            self.history.append(kind)
            getattr(self, kind)()
            time.sleep(self.chance.uniform(0.05, 0.4))
            if self.chance.random() < 0.4:
                self.calm()
        self.calm()

    def calm(self):
        for pipe in self.pipes:
            pipe.calm()
        if self.world.cloud is not None:
            assert self.world.cloud.request("DELETE", "/faults")[0] == 204

    def fault(self, kind, **more):
        status, answer = self.world.cloud.request("POST", "/faults", {"kind": kind, **more})
        assert status in (200, 201), (kind, more, status, answer)

    def some(self, most=6):
        return self.chance.randint(1, most)

    def puback(self):
        self.fault("puback", count=self.some())

    def reply(self):
        self.fault("reply", count=self.some())

    def delay(self):
        self.fault("delay", ms=self.chance.choice([20, 300, 1500]), count=self.some(20))

    def delay_all(self):
        self.fault("delay", ms=self.chance.choice([20, 300]), direction=self.chance.choice(["up", "down"]), count=self.some(20))

    def duplicate(self):
        self.fault("duplicate", count=self.some(10))

    def reorder(self):
        self.fault("reorder", ms=200, count=self.some())

    def corrupt(self):
        self.fault("corrupt", direction="down", count=self.some(3))

    def refuse(self):
        self.fault("refuse", code=429, count=self.some())

    def connack(self):
        self.fault("connack", code=3, count=self.some(3))

    def unavailable(self):
        self.fault("status", channel=self.world.channel, code=self.world.unavailable, count=self.some())

    def throttle(self):
        self.fault("throttle", rate=self.chance.choice([200, 2000]))

    def stall(self):
        self.fault("stall")
        time.sleep(self.chance.uniform(0.1, 2.5))

    def kick(self):
        self.fault("kick", probability=0.3, direction="up", count=self.some(3))

    def cut(self):
        self.fault("cut", probability=0.3, direction="up", count=self.some(3))

    def half_close(self):
        self.fault("half_close")

    def pipe_cut(self):
        for pipe in self.pipes:
            pipe.cut(self.chance.random() < 0.5)

    def pipe_stall(self):
        for pipe in self.pipes:
            pipe.stalled.set()
        time.sleep(self.chance.uniform(0.1, 2.5))

    def pipe_dribble(self):
        for pipe in self.pipes:
            pipe.dribble = True

    def pipe_refuse(self):
        for pipe in self.pipes:
            pipe.refusing = True
            pipe.cut(True)
        time.sleep(self.chance.uniform(0.1, 0.8))

    def freeze(self):
        """The platform's process stands still."""
        self.world.freeze(self.chance.uniform(0.05, 2.5))

    def kill(self):
        self.world.kill_and_start()


def wait_settled(devices, what):
    wait_until(lambda: all(not d.waiting for d in devices) or any(d.problem for d in devices), what, timeout=120)
    assert [d.problem for d in devices] == [None] * len(devices)
