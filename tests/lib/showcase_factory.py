"""`./dev run factory`: a production line on one screen. A batch is imported, ten stations burn 200 boards at once, the stock is
counted, every board asks again and gets the certificate it has, and the audit log is verified.

Everything lives in build/run-factory. Exit status 0 only when all of that is so.
"""
import argparse
import concurrent.futures
import csv
import json
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

PK, BOARDS, STATIONS, STOCK = "a1B2c3D4e5F", 200, 10, 260


def say(text=""):
    print(text, flush=True)


class Line:
    def __init__(self, build):
        self.bin = pathlib.Path(build).resolve() / "bin"
        self.dir = pathlib.Path(build).resolve() / "run-factory"
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(mode=0o700)
        self.server = None

    def tool(self, *args, quiet=False):
        """A verb of `causeway factory`; its output is shown, with the command."""
        if not quiet:
            say(f"$ causeway factory {' '.join(map(str, args))}")
        done = subprocess.run([self.bin / "causeway", "factory", *map(str, args)], cwd=self.dir, capture_output=True, text=True)
        if not quiet:
            say("".join("  " + line + "\n" for line in (done.stdout + done.stderr).splitlines()).rstrip("\n"))
        if done.returncode != 0:
            sys.exit(f"causeway factory {args[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def start(self):
        ready = self.dir / "ready.json"
        self.server = subprocess.Popen([self.bin / "causeway-factory", "--listen", "127.0.0.1:0", "--office", "127.0.0.1:0",
                                        "--ready-file", ready], cwd=self.dir, stdout=subprocess.DEVNULL,
                                       stderr=open(self.dir / "server.log", "wb"))
        while not ready.exists():
            if self.server.poll() is not None:
                sys.exit("causeway-factory did not start:\n" + (self.dir / "server.log").read_text())
            time.sleep(0.02)
        addresses = json.loads(ready.read_text())
        self.address, self.page = addresses["line"][0], addresses["office"][0]

    def stop(self):
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait(20)

    def ask(self, board):
        body = json.dumps({"ProductKey": PK, "DeviceID": board, "Action": 0}).encode()
        with urllib.request.urlopen(f"http://{self.address}/", data=body, timeout=20) as answer:
            return json.loads(answer.read())


def make_batch(path):
    """As the platform's console gives it."""
    product_secret = secrets.token_hex(8)
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["DeviceName", "DeviceSecret", "ProductKey", "ProductSecret"])
        for i in range(STOCK):
            out.writerow([f"board-{i:04}", secrets.token_hex(16), PK, product_secret])


def burn(line):
    """Ten stations at once, each a process of its own; what the first of them says is shown. Device names by board."""
    each = BOARDS // STATIONS
    say(f"$ causeway factory station --server {line.address} --product {PK} --simulate {each} --prefix ST01-   ({STATIONS} of them at once)")
    stations = [subprocess.Popen([line.bin / "causeway", "factory", "station", "--server", line.address, "--product", PK, "--simulate",
                                  str(each), "--parallel", "4", "--prefix", f"ST{i + 1:02}-"], cwd=line.dir, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True) for i in range(STATIONS)]
    names = {}
    for i, station in enumerate(stations):
        text = station.communicate()[0].splitlines()
        for row in text:
            words = row.split()
            if len(words) == 3 and words[2] == "written":
                names[words[0]] = words[1]
        for row in text[:2] + ["..."] + text[-1:] if i == 0 else text[-1:]:
            say(f"  station {i + 1:2}: {row}")
        if station.returncode != 0:
            sys.exit(f"station {i + 1} ended with {station.returncode}")
    return names


def main():
    parser = argparse.ArgumentParser(prog="./dev run factory")
    parser.add_argument("build")
    parser.add_argument("--for", dest="seconds", default=None, help="end after so long, such as 20s; else at Ctrl-C")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    began, line = time.monotonic(), Line(args.build)
    try:
        make_batch(line.dir / "batch.csv")
        say("1. A batch of certificates goes into the stock")
        line.tool("import", "batch.csv", "--batch", "line-7")
        line.start()
        say(f"\n2. The server waits for stations at http://{line.address}; the line can be watched at http://{line.page}")
        say(f"\n3. {STATIONS} stations burn {BOARDS} boards")
        names = burn(line)
        say("\n4. The count")
        line.tool("stock")
        line.tool("show", "board-0000")
        say("5. Every board asks once more, all at once")
        with concurrent.futures.ThreadPoolExecutor(STATIONS) as pool:
            again = {a["DeviceID"]: a["DeviceName"] for a in pool.map(line.ask, names)}
        same, different = sum(again[b] == names[b] for b in names), len(set(names.values()))
        say(f"  {same} of {BOARDS} boards got the certificate they have; {different} different certificates for {len(names)} boards")
        say("\n6. Nobody edited the log")
        line.tool("audit", "--verify")
        figures = json.loads(line.tool("stock", "--json", quiet=True))
        good = same == different == len(names) == BOARDS
        say(f"\n{'All of it went well' if good else 'SOMETHING IS WRONG'}. The page: http://{line.page}"
            + ("" if args.seconds else "   (Ctrl-C ends it)"))
        if not good:
            sys.exit(f"expected {BOARDS}: {figures}")
        until = None if args.seconds is None else began + float(args.seconds.rstrip("s"))
        stop = threading.Event()
        while until is None or time.monotonic() < until:
            stop.wait(min(1.0, 1.0 if until is None else max(0.01, until - time.monotonic())))
            if line.server.poll() is not None:
                sys.exit("the server ended by itself:\n" + (line.dir / "server.log").read_text()[-2000:])
    except KeyboardInterrupt:
        pass
    finally:
        line.stop()


if __name__ == "__main__":
    main()
