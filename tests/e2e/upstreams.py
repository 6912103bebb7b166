"""The kinds of upstreams as the conformance suite sees them: how each is configured, and what it cannot have, with the reason.

A new kind needs an entry in KINDS and one in CANNOT for each case that does not apply to it; test_upstreams.py checks
that all of kinds.h are here, and that the list in README.md of what a kind cannot is this one.
"""
import dataclasses
import re

from conftest import ROOT

POST = "/sys/+/+/thing/event/property/post"


@dataclasses.dataclass
class Kind:
    """`upstream`: lines of the gateway's configuration; {NAME} is the address of the emulator's listener of that name."""
    upstream: str
    listeners: str           # of the emulator
    node: str = "subdevice"  # what its devices are there
    rates: str = "ratePerDeviceQos1 = 0"
    ca: bool = False         # the gateway is told the emulator's authority
    subscribes: bool = True  # devices hear what they have subscribed
    fetched: bool = False    # commands wait at the platform until they are fetched: nobody waits for their answer
    platform: str = "emulator"  # or "mosquitto"
    logins: int = 1          # upstream.logins of one device
    # Faults of the emulator that mean the same over each channel.
    too_many: dict = dataclasses.field(default_factory=lambda: {"kind": "refuse", "topic": POST, "code": 429})
    confirm_too_many: str = "confirm = reply"
    secret_code: int = 401   # of a login with a wrong secret


KINDS = {
    "mqtt": Kind('type = mqtt, endpoint = "tcp://{mqtt}"', "mqtt"),
    "http2": Kind('type = http2, endpoint = "https://{http2}", authEndpoint = "https://{https}/auth/bridge"', "http2 https mqtt",
                  ca=True, subscribes=False, secret_code=6287),
    "https": Kind('type = https, endpoint = "https://{https}"', "https mqtt", node="device", rates="ratePerDevice = 0", ca=True,
                  too_many={"kind": "status", "channel": "https", "topic": POST, "code": 40000}, confirm_too_many="",
                  secret_code=20000),
    "coap": Kind('type = coap, endpoint = "coaps://{coaps}", pull = 100ms', "coaps mqtt", node="device", subscribes=False,
                 too_many={"kind": "status", "channel": "coap", "topic": POST, "code": 429}, confirm_too_many="", fetched=True),
    "broker": Kind('type = broker, endpoint = "tcp://{broker}"', "", platform="mosquitto", rates="", logins=0),
}

# (kind, case): why not. Cases are the names of the tests in test_upstreams.py without test_.
CANNOT = {
    ("https", "a_device_that_leaves_is_offline"):
        "the platform has no logout over HTTPS; it shows a device offline ten minutes after its last message",
    ("https", "a_command_is_answered"):
        "the platform has no downlink over HTTPS; commands end as refused",
    ("https", "a_repeated_command_runs_once"):
        "the platform has no downlink over HTTPS",
    ("https", "a_kicked_device_comes_back"):
        "a device has no session over HTTPS that the platform could end, only a token",
    ("coap", "a_device_that_leaves_is_offline"):
        "the platform has no logout over CoAP; it shows a device offline ten minutes after its last message",
    ("coap", "a_repeated_command_runs_once"):
        "a command is fetched, and gone at the platform then: it cannot come twice",
    ("coap", "a_kicked_device_comes_back"):
        "the platform ends no login over CoAP, it only stops to take the token",
    ("broker", "wrong_credentials_cost_only_their_device"):
        "devices have no credentials at a broker, only the gateway has",
    ("broker", "a_kicked_device_comes_back"):
        "a broker has no sessions of devices behind the gateway",
    ("broker", "a_refused_record_is_settled_as_refused"):
        "a broker knows no model; MQTT 3.1.1 cannot refuse a message, MQTT 5 can (test_upstream_broker.py)",
    ("broker", "the_reply_to_a_request_comes_back_under_its_id"):
        "a broker replies to nothing, it acknowledges",
    ("broker", "a_platform_that_asks_for_less_gets_it_later"):
        "a broker cannot ask for less; it reads more slowly, or not at all (as when it is stalled)",
    ("broker", "a_cut_connection_costs_nothing"):
        "Mosquitto cannot be told to cut one connection; a broker that is killed does, which is another case",
    ("broker", "messages_that_arrive_twice_or_late_change_no_answer"):
        "Mosquitto neither repeats nor reorders what it was given",
}


def kinds_of_the_gateway():
    """The names in CW_UPSTREAM_KINDS."""
    text = (ROOT / "src" / "upstream" / "kinds.h").read_text()
    return re.findall(r"^\s+X\((\w+)\)", text[text.index("#define CW_UPSTREAM_KINDS(X)"):], re.M)


def documented_table():
    """What a kind cannot, as README.md prints it."""
    lines = ["| upstream | what it cannot | why |", "| --- | --- | --- |"]
    lines += [f"| `{kind}` | {case.replace('_', ' ')} | {why} |" for (kind, case), why in CANNOT.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(documented_table())
