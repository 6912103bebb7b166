"""Programmer stations that ask and report whatever happens to the server, and remember every answer they ever got."""
import asyncio
import json
import random
import threading

from factory_world import PK

FREE, ALLOCATED, WRITTEN, VOID = range(4)


class Line:
    """Stations in a thread of their own. `addresses()`: where servers listen at this moment. leases: certificates that are not reported
    may come to another board, so only what was reported counts for good."""

    def __init__(self, addresses, seed, stations=50, leases=False):
        self.addresses, self.leases, self.stations = addresses, leases, stations
        self.told, self.acknowledged = {}, set()  # DeviceID -> DeviceName; DeviceIDs
        self.answers, self.lost, self.busy, self.empty = 0, 0, 0, 0
        self.wrong = []
        self._seed, self._stop = seed, False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))
        self._thread.start()

    def stop(self):
        self._stop = True
        self._thread.join()

    async def _work(self):
        await asyncio.gather(*(self._station(i, random.Random(f"{self._seed}-{i}")) for i in range(self.stations)))

    async def _station(self, i, rng):
        connection, boards, shared = Connection(self, i), [], 0
        try:
            while not self._stop:
                kind, board = rng.random(), f"S{self._seed}-{i}-{len(boards)}"
                if kind < 0.15 and boards:
                    board = rng.choice(boards)
                elif kind < 0.25:
                    board = None
                elif kind < 0.35 and not self.leases:  # all stations ask for this one
                    board, shared = f"ALL{self._seed}-{shared}", shared + 1
                told = await self._ask(connection, board)
                if told is None:
                    continue
                if self.leases or rng.random() < 0.8:
                    reported = await self._report(connection, told)
                    if self.leases and not reported:
                        continue
                if told not in boards:
                    boards.append(told)
        except Exception as error:  # pylint: disable=broad-except
            self.wrong.append(f"station {i}: {error!r}")
        finally:
            connection.close()

    async def _ask(self, connection, board):
        """The DeviceID it was told a certificate for."""
        answer = await connection.send({"ProductKey": PK, "Action": 0, **({} if board is None else {"DeviceID": board})})
        if answer is None:
            return None
        if answer["Status"] in ("OUT_OF_STOCK", "BATCH_CLOSED"):
            self.empty += 1
            await asyncio.sleep(0.02)
            return None
        if answer["Status"] != "OK" or (board is not None and answer["DeviceID"] != board):
            self.wrong.append(f"{board}: {answer['Status']} for {answer['DeviceID']}")
            return None
        told, name = answer["DeviceID"], answer["DeviceName"]
        before = self.told.get(told, name)
        if before != name and (not self.leases or told in self.acknowledged):
            self.wrong.append(f"{told} was told {before}, then {name}")
        self.told[told] = name
        return told

    async def _report(self, connection, board):
        answer = await connection.send({"ProductKey": PK, "Action": 1, "DeviceID": board})
        if answer is not None and answer["Status"] == "OK":
            self.acknowledged.add(board)
            return True
        if answer is not None and not self.leases:
            self.wrong.append(f"report of {board}: {answer['Status']}")
        return False

    def check(self, rows):
        """rows(): (DeviceID or None, DeviceName, state) of all certificates, read after what was told by now."""
        acknowledged = set(self.acknowledged)
        told = {board: name for board, name in self.told.copy().items() if not self.leases or board in acknowledged}
        stock = {board: (name, state) for board, name, state in rows() if board is not None and state in (ALLOCATED, WRITTEN)}
        assert not self.wrong, self.wrong[:5]
        assert len(set(told.values())) == len(told), "a certificate was given to two boards"
        for board, name in told.items():
            assert board in stock, f"{board} was told {name}, and the stock has nothing for it"
            assert stock[board][0] == name, f"{board} was told {name}, and the stock says {stock[board][0]}"
        lost = [board for board in acknowledged if stock[board][1] != WRITTEN]
        assert not lost, f"reports that were acknowledged and are not in the stock: {lost[:5]}"


class Connection:
    """Sends until there is an answer; to another server when one is away."""

    def __init__(self, line, turn):
        self.line, self.turn = line, turn
        self.reader = self.writer = None

    async def send(self, request):
        body = json.dumps(request)
        data = f"POST / HTTP/1.1\r\nHost: line\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        while not self.line._stop:  # pylint: disable=protected-access
            try:
                answer = await asyncio.wait_for(self._once(data), 10)
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                self.line.lost += 1
                self.turn += 1
                self.close()
                await asyncio.sleep(0.01)
                continue
            self.line.answers += 1
            if answer["Status"] != "BUSY":
                return answer
            self.line.busy += 1
            self.turn += 1
            self.close()
            await asyncio.sleep(0.02)
        return None

    async def _once(self, data):
        if self.writer is None:
            addresses = self.line.addresses()
            host, port = addresses[self.turn % len(addresses)].rsplit(":", 1)
            self.reader, self.writer = await asyncio.open_connection(host, int(port))
        self.writer.write(data)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return json.loads(await self.reader.readexactly(length))

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None
