"""`./dev run [--upstream KIND] [--protocol NAME]`: emulator, gateway and three simulated devices, messages both ways, on one
screen. With `--upstream broker` a Mosquitto stands where the platform would.

Everything lives in build/run and ends with this program. Exit status 0 only when reports of the devices
reached the platform and all commands came back answered.
"""
import argparse
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

GW = ("a1EmuGw0001", "gw-0001")
PK = "a1EmuThing1"


def position(event, params):
    place = params.get("GeoLocation", {}).get("value")
    if event != "property" or not place:
        return None
    return f"is at {place['Longitude']:.6f}, {place['Latitude']:.6f}, {params.get('Speed', {}).get('value', '?')} km/h"


def value(params, name):
    got = params.get(name)
    return got.get("value") if isinstance(got, dict) else got


def fire_report(event, params):
    what = params.get("value", params)
    if event == "analogueReport":
        return f"component {what.get('componentAddress')}: {what.get('value')} {what.get('unit', '')}"
    if event == "componentState":
        return f"component {what.get('componentAddress')} {what.get('componentTypeName', '')}: {', '.join(what.get('flags', [])) or 'quiet'}"
    return None


def water_report(event, params):
    if event != "property" or value(params, "w01018_Rtd") is None:
        return None
    return f"COD {value(params, 'w01018_Rtd')} mg/L, mark {value(params, 'w01018_Flag')}"


def meter_report(event, params):
    read = [f"{value(params, name)} {unit}" for name, unit in (("voltage", "V"), ("temperature", "degrees")) if value(params, name) is not None]
    return ", ".join(read) if event == "property" and read else None


class Protocol:
    """What one protocol adds to the show. A device is known to the platform by its identity, / written as -."""

    def __init__(self, title, devices, report, commands, frame, listener="", extra="", simulate=(), settings=""):
        self.title, self.devices, self.report, self.commands, self.frame = title, devices, report, commands, frame
        self.listener, self.extra, self.simulate, self.settings = listener, extra, simulate, settings


# report(event, params): what a report of the kind that is waited for says, or None. Commands go to the first device.
PROTOCOLS = {
    "jt808": Protocol(
        "JT/T 808", ["13912345601", "13912345602", "13912345603"], position,
        [("text message", "services/SendText", {"text": "前方拥堵, drive slowly", "tts": 1}),
         ("parameter set", "properties", {"HeartbeatInterval": 45, "MaxSpeed": 90})],
        "7e0002000001391234560100014a7e"),
    "gb26875": Protocol(
        "GB/T 26875.3", ["790300000000", "7A0300000000", "7B0300000000"], fire_report,
        [("state of the device", "services/readUtdStatus", {}), ("clock", "services/syncTime", {}),
         ("inspection", "services/dutyCheck", {"timeoutMinutes": 1})],
        "404002000101203A091A090C790300000000385B010000001600020102010204020400090207150D030501050009020715372323"),
    "hj212": Protocol(
        "HJ 212", ["010000A8900016F000169DC0", "010000A8900016F000169DC1", "010000A8900016F000169DC2"], water_report,
        [("device clock", "services/getTime", {}), ("interval", "properties", {"RtdInterval": 60})],
        "232330303939514e3d32303136303830313038353835373232333b53543d33323b434e3d313031333b50573d3132333435363b4d4e3d3031303030304138393030303136463030303136394443303b466c61673d353b43503d2626506f6c49643d7730313031382626434143310d0a"),
    "modbus": Protocol(
        "Modbus", ["868333031234501/1", "868333031234501/2", "868333031234502/1"], meter_report,
        [("setpoint", "properties", {"setpoint": 21.5}), ("reset", "services/reset", {})],
        "010304890242c7009d", settings=", settings { profile = meter }",
        listener=", settings { framing = rtu, registration { mode = once, length = 15 } }",
        extra="""protocols.modbus.profiles.meter {
  points = [
    { property = voltage, area = input, address = 0, type = uint16, scale = 0.1, interval = 1s, report { mode = always } }
    { property = temperature, area = input, address = 100, type = float32, decimals = 2, interval = 1s, report { mode = always } }
    { property = setpoint, area = holding, address = 1000, type = int16, scale = 0.1, access = rw, interval = 5s }
    { property = pump, area = coil, address = 5, type = bool, access = rw, interval = 5s }
  ]
  services { reset { steps = [ { write = pump, value = "false" }, { wait = 100ms }, { write = pump, value = "true" } ] } }
}"""),
}


def name_of(identity):
    return identity.replace("/", "-")


# How the gateway reaches the platform: its lines in the configuration. NAME is a listener of the emulator.
UPSTREAMS = {
    "mqtt": 'type = mqtt, endpoint = "tcp://{mqtt}"',
    "http2": 'type = http2, endpoint = "https://{http2}", authEndpoint = "https://{https}/auth/bridge"',
    "coap": 'type = coap, endpoint = "coaps://{coaps}"',
    "https": 'type = https, endpoint = "https://{https}"',
    "broker": 'type = broker, endpoint = "tcp://{mqtt}", payload = alink',
}
# There each device logs in for itself, and no answer to a command comes back: why.
NO_ANSWERS = {
    "coap": "a command waits there until it is fetched (pull), and nobody waits for its answer",
    "https": "it has no way down; a command for such a device is refused with that reason",
}


def say(who, text):
    print(f"{who:>10} | {text}", flush=True)


def title(text):
    print(f"\n== {text}", flush=True)


class Show:
    def __init__(self, build, upstream="mqtt", protocol="jt808"):
        self.upstream, self.protocol = upstream, protocol
        self.how = PROTOCOLS[protocol]
        self.names = [name_of(d) for d in self.how.devices]
        self.build = pathlib.Path(build).resolve()
        self.dir = self.build / "run"
        self.processes = []
        self.stopping = threading.Event()
        self.online, self.reports = set(), 0
        self.first_reports = threading.Event()
        self.answers = []
        self.quiet = True  # reports are counted, not printed, until the live part

    # ---- files ---------------------------------------------------------------------------

    def write(self, name, text):
        path = self.dir / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def write_files(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True, mode=0o700)
        keys = {name: secrets.token_hex(16) for name in ["gateway", *self.names]}
        stock = "\n".join(f"  {{ productKey = {PK}, deviceName = {n}, deviceSecret = {keys[n]} }}" for n in self.names)
        node_type = "device" if self.upstream in NO_ANSWERS else "subdevice"
        self.write("cloud.conf", f"""
products = [ {{ productKey = {GW[0]}, nodeType = gateway }}, {{ productKey = {PK}, nodeType = {node_type} }} ]
devices = [
  {{ productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = {keys['gateway']} }}
{stock}
]
""")
        self.write("devices.conf", "".join(
            f'"{d}" {{ productKey : {PK}, deviceName : {n}, deviceSecret : {keys[n]} {self.how.settings} }}\n'
            for d, n in zip(self.how.devices, self.names)))
        self.secret = keys["gateway"]

    def write_gateway(self, addresses):
        bridge = f"productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = {self.secret}\n"
        ca = f'ca = "{addresses["ca"]}"\n' if "ca" in addresses else ""
        self.write("application.conf", f"""
{"" if self.upstream == "broker" else bridge}{ca}stateDir = "{self.dir}/state"
control = "unix:{self.dir}/control.sock"
listeners = [ {{ name = devices, protocol = {self.protocol}, address = "127.0.0.1:0", ack = delivered {self.how.listener} }} ]
upstreams {{ cloud {{ {UPSTREAMS[self.upstream].format(**addresses)} }} }}
{self.how.extra}
""")

    # ---- processes -------------------------------------------------------------------------

    def start(self, name, *args, ready=True, output=None):
        ready_file = self.dir / f"{name}.ready"
        ours = self.build / "bin" / args[0]
        argv = [str(ours) if ours.exists() else args[0], *map(str, args[1:])]
        if ready:
            argv += ["--ready-file", str(ready_file)]
        log = open(self.dir / f"{name}.log", "w")
        process = subprocess.Popen(argv, stdout=output or log, stderr=log, cwd=self.dir, text=True)
        self.processes.append((name, process))
        while ready and not ready_file.exists():
            if process.poll() is not None:
                raise SystemExit(f"{name} ended with {process.returncode}: " + (self.dir / f"{name}.log").read_text()[-2000:])
            time.sleep(0.02)
        return process, json.loads(ready_file.read_text()) if ready else None

    def stop(self):
        self.stopping.set()
        for name, process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                say("stop", f"{name} had to be killed")

    # ---- what arrives at the platform --------------------------------------------------------

    def watch(self, api):
        request = urllib.request.Request(f"http://{api}/api/v1/messages/stream")
        try:
            with urllib.request.urlopen(request) as stream:
                for line in stream:
                    if self.stopping.is_set():
                        return
                    if line.startswith(b"data:"):
                        self.on_message(json.loads(line[5:]))
        except OSError:
            pass

    def on_message(self, m):
        found = re.match(rf"/sys/{PK}/([^/]+)/thing/event/(\w+)/post$", m.get("topic", ""))
        if not found or "payload" not in m:
            return
        device, event = found.groups()
        payload = m["payload"] if isinstance(m["payload"], dict) else json.loads(m["payload"])
        params = payload.get("params", {})
        text = self.how.report(event, params)
        if text is None:
            if event != "property" or not self.quiet:
                what = "properties" if event == "property" else f"event {event}"
                say("platform", f"{device} {what} {json.dumps(params.get('value', params), ensure_ascii=False)[:110]}")
            return
        self.reports += 1
        self.online.add(device)
        if self.reports <= 5 or not self.quiet:
            say("platform", f"{device} {text}")
        if self.reports >= 3:
            self.first_reports.set()

    def call(self, path, body):
        request = urllib.request.Request(f"http://{self.api}/api/v1/devices/{PK}/{self.names[0]}/{path}",
                                         data=json.dumps(body).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as e:
            return {"result": f"HTTP {e.code}", "reply": e.read().decode(errors="replace")}

    def command(self, what, path, body):
        say("platform", f"-> {self.names[0]} {what}: {json.dumps(body, ensure_ascii=False)}")
        answer = self.call(path, body)
        say("platform", f"<- {answer.get('result')}: {json.dumps(answer.get('reply'), ensure_ascii=False)[:150]}")
        reply = answer.get("reply")
        self.answers.append(answer.get("result") == "answered" and isinstance(reply, dict) and reply.get("code") == 200)

    # ---- the terminals -------------------------------------------------------------------------

    def relay(self, process):
        for line in process.stdout:
            say("devices", line.rstrip())

    def statuses(self):
        with urllib.request.urlopen(f"http://{self.api}/api/v1/devices") as answer:
            return {d["deviceName"]: d["status"] for d in json.loads(answer.read())["devices"]}

    def wait_online(self):
        seen = set()
        deadline = time.monotonic() + 60
        while len(seen) < len(self.names) and time.monotonic() < deadline:
            for name, status in self.statuses().items():
                if name in self.names and status == "ONLINE" and name not in seen:
                    seen.add(name)
                    say("platform", f"{name} is ONLINE")
            time.sleep(0.05)
        return len(seen) == len(self.names)

    # ---- the platform -----------------------------------------------------------------------------

    def start_platform(self):
        title("the platform, emulated")
        _, ready = self.start("causeway-cloud", "causeway-cloud", "--free-ports", "--config", self.dir / "cloud.conf")
        self.api = ready["api"]
        say("cloud", f"{self.upstream} on {ready[{'coap': 'coaps'}.get(self.upstream, self.upstream)]}, its page on http://{ready['api']}/")
        threading.Thread(target=self.watch, args=(self.api,), daemon=True).start()
        return ready

    def look(self):
        return f"curl -s http://{self.api}/api/v1/devices/{PK}/{self.names[0]}"

    def send_commands(self):
        title("commands from the platform")
        if self.upstream in NO_ANSWERS:
            say("platform", f"none over {self.upstream}: {NO_ANSWERS[self.upstream]}")
            return
        for command in self.how.commands:
            self.command(*command)

    # ---- the whole -------------------------------------------------------------------------------

    def run(self, seconds):
        started = time.monotonic()
        self.write_files()
        addresses = self.start_platform()
        title("the gateway")
        self.write_gateway(addresses)
        _, ready = self.start("causewayd", "causewayd", "-c", self.dir / "application.conf")
        self.devices = ready["listeners"]["devices"]
        say("gateway", f"{self.how.title} on {self.devices}, upstream {self.upstream}; a device is answered when its message was taken over there")
        title("three devices")
        simulator, _ = self.start("simulate", "causeway", "simulate", self.protocol, "--connect", self.devices,
                                  "--devices", len(self.names), "--rate", 2, "--identities", self.dir / "devices.conf",
                                  *self.how.simulate, ready=False, output=subprocess.PIPE)
        threading.Thread(target=self.relay, args=(simulator,), daemon=True).start()
        online = self.wait_online()
        arrived = self.first_reports.wait(60)
        self.send_commands()
        title("live traffic" + ("" if seconds else "; Ctrl-C ends it"))
        print(f"""   in another terminal try:
     {self.look()}
     {self.rel('bin/causeway')} status --control unix:{self.dir}/control.sock
     {self.rel('bin/causeway')} trace {self.how.devices[1]} --control unix:{self.dir}/control.sock
     {self.rel('bin/causeway')} config check {self.rel('run/application.conf')}
     echo {self.how.frame} | {self.rel('bin/causeway')} decode {self.protocol} -
     {self.rel('bin/causeway')} simulate {self.protocol} --help
""", flush=True)
        self.quiet = False
        while not self.stopping.is_set() and (not seconds or time.monotonic() - started < seconds):
            if any(p.poll() is not None for _, p in self.processes):
                say("stop", "a program has ended by itself")
                break
            self.stopping.wait(0.1)
        ok = online and arrived and self.answers == [True] * (0 if self.upstream in NO_ANSWERS else len(self.how.commands))
        self.stop()
        title(f"{self.reports} reports arrived, {sum(self.answers)} of {len(self.answers)} commands were answered: "
              + ("it works" if ok else "something is missing; the logs are in " + str(self.dir)))
        return 0 if ok else 1

    def rel(self, path):
        return os.path.relpath(self.build / path)


class BrokerShow(Show):
    """The same thread with a Mosquitto and its tools instead of the platform."""

    def start_platform(self):
        title("a broker: Mosquitto")
        with socket.create_server(("127.0.0.1", 0)) as free:  # it cannot be told to take any free one
            self.port = free.getsockname()[1]
        user = "user root\n" if os.geteuid() == 0 else ""
        self.write("mosquitto.conf", f"listener {self.port} 127.0.0.1\nallow_anonymous true\n{user}")
        self.start("mosquitto", shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", self.dir / "mosquitto.conf", ready=False)
        self.wait_for_it()
        say("broker", f"MQTT on 127.0.0.1:{self.port}")
        watch = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.port), "-v", "-t", "site/#"]
        process, _ = self.start("mosquitto_sub", *watch, ready=False, output=subprocess.PIPE)
        threading.Thread(target=self.watch_broker, args=(process,), daemon=True).start()
        return {"mqtt": f"127.0.0.1:{self.port}"}

    def wait_for_it(self):
        name, process = self.processes[-1]
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.02)
        raise SystemExit("mosquitto ended: " + (self.dir / f"{name}.log").read_text())

    def watch_broker(self, process):
        for line in process.stdout:
            topic, _, text = line.rstrip().partition(" ")
            levels = topic.split("/")
            if levels[1] == PK and levels[3] == "state" and text == "online":
                say("broker", f"{levels[2]} is online")
                self.online.add(levels[2])
            elif levels[1] == PK and levels[3] in ("property", "event"):
                name = json.loads(text)["method"].split(".")[2]  # thing.event.NAME.post
                self.on_message({"topic": f"/sys/{PK}/{levels[2]}/thing/event/{name}/post", "payload": text})
            elif levels[1] == PK and levels[3] == "reply":
                say("broker", f"<- {topic} {text[:150]}")
                self.answers.append(json.loads(text).get("code") == 200)

    def wait_online(self):
        deadline = time.monotonic() + 60
        while len(self.online) < len(self.names) and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(self.online) == len(self.names)

    def look(self):
        return f"mosquitto_sub -h 127.0.0.1 -p {self.port} -v -t 'site/#'"

    def send_commands(self):
        title("commands from anybody at the broker")
        for _, path, body in self.how.commands:
            name = path.split("/")[1] if "/" in path else "set"
            topic = f"site/{PK}/{self.names[0]}/command/{name}"
            message = json.dumps({"id": name, "params": body}, ensure_ascii=False)
            say("broker", f"-> {topic} {message}")
            subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-q", "1", "-t", topic, "-m", message], check=True)
        deadline = time.monotonic() + 30
        while len(self.answers) < len(self.how.commands) and time.monotonic() < deadline:
            time.sleep(0.05)


def seconds(text):
    found = re.fullmatch(r"(\d+)(s|m)?", text)
    if not found:
        raise argparse.ArgumentTypeError("20s, 2m or a number of seconds")
    return int(found[1]) * (60 if found[2] == "m" else 1)


def main():
    parser = argparse.ArgumentParser(prog="./dev run")
    parser.add_argument("build", help=argparse.SUPPRESS)
    parser.add_argument("--for", dest="duration", type=seconds, default=0, help="end by itself after this long, as in 20s")
    parser.add_argument("--upstream", choices=sorted(UPSTREAMS), default="mqtt", help="how the gateway reaches the platform")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="jt808", help="what the devices speak")
    args = parser.parse_args()
    show = (BrokerShow if args.upstream == "broker" else Show)(args.build, args.upstream, args.protocol)
    signal.signal(signal.SIGINT, lambda *_: show.stopping.set())
    signal.signal(signal.SIGTERM, lambda *_: show.stopping.set())
    try:
        return show.run(args.duration)
    finally:
        show.stop()


if __name__ == "__main__":
    sys.exit(main())
