"""The http2 upstream against the emulator: the same thread as over MQTT, by the bridge channel.

covers: L05 L06 L07 L08 L09 M13 M14 M15 M20 M21 M22 M24 M25 M26 M27 M28 M29 M35 M40 M42 M45
"""
import gw
import pytest
from conftest import wait_until
from gw import GW, PK, ask, device_name, secret, start_gateway, wait_reported  # noqa: F401  (fixture)


def h2_conf(devices=3, node_type="gateway", **limits):
    conf = gw.cloud_conf(devices, **limits)
    return conf.replace('api = "127.0.0.1:0" }', 'api = "127.0.0.1:0", http2 = "127.0.0.1:0", https = "127.0.0.1:0" }').replace(
        "nodeType = gateway", f"nodeType = {node_type}")


def upstream(cloud, ca=None, auth=None, more=""):
    """The part of an upstream's settings that makes it one over HTTP/2."""
    auth = auth or f"https://{cloud.process.ready['https']}/auth/bridge"
    return f'type = http2, authEndpoint = "{auth}", tls {{ ca = "{ca or cloud.ca}" }}, ratePerDeviceQos0 = 0\n{more}'


@pytest.fixture
def world2(start_cloud, start_gateway):  # noqa: F811
    """world2(devices=3, upstream="...", ...) -> (cloud, gateway) with the bridge logged in over HTTP/2."""
    def start(devices=3, limits=None, more="", node_type="gateway", state=None, **options):
        cloud = start_cloud(h2_conf(devices, node_type, **(limits or {})), state=state)
        gateway = start_gateway(cloud, devices=devices, endpoint=f"https://{cloud.process.ready['http2']}",
                                upstream=upstream(cloud, more=more), **options)
        return cloud, gateway.wait_up()
    return start


def test_a_position_reaches_the_platform(world2):
    cloud, gateway = world2()
    with gateway.terminal(0) as t:
        t.register()
        t.authenticate()
        cloud.wait_status(PK, device_name(0), "ONLINE")
        assert cloud.device(PK, device_name(0))["session"]["channel"] == "http2"
        t.position(speed=31.5)
        wait_reported(cloud, 0, "speed")
    cloud.wait_status(PK, device_name(0), "OFFLINE")
