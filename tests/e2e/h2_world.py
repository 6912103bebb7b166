"""Fixture: a gateway with an http2 upstream beside the emulator. `world` here has the arguments of the one in gw.py."""
import gw
import pytest
from gw import start_gateway  # noqa: F401  (fixture)


def stock(devices=3, node_type="gateway", switches="", **limits):
    conf = gw.cloud_conf(devices, **limits).replace("nodeType = gateway", f"nodeType = {node_type}")
    return conf.replace('api = "127.0.0.1:0" }', 'api = "127.0.0.1:0", http2 = "127.0.0.1:0", https = "127.0.0.1:0" }') + switches


def settings(cloud, more="", auth=None, ca=None):
    """The part of an upstream's settings that makes it one over HTTP/2."""
    auth = auth or f"https://{cloud.process.ready['https']}/auth/bridge"
    return f'type = http2, authEndpoint = "{auth}", tls {{ ca = "{ca or cloud.ca}" }}, ratePerDeviceQos0 = 0\n{more}'


@pytest.fixture
def world(start_cloud, start_gateway, tmp_path):  # noqa: F811
    """world(devices=3, listener="ack = delivered", upstream="large = true", ...) -> (cloud, gateway), the bridge logged in."""
    def start(devices=3, limits=None, upstream="", stock_of=None, endpoint=None, auth=None, state=None, **options):
        cloud = start_cloud(stock_of or stock(devices, **(limits or {})), state=state)
        file = tmp_path / "causeway-cloud.conf"  # from now on a restart of the platform keeps its addresses
        text = file.read_text()
        for name in ("mqtt", "http2", "https"):
            text = text.replace(f'{name} = "127.0.0.1:0"', f'{name} = "{cloud.process.ready[name]}"')
        file.write_text(text)
        endpoint = endpoint(cloud) if endpoint else f"https://{cloud.process.ready['http2']}"
        return cloud, start_gateway(cloud, devices=devices, endpoint=endpoint, upstream=settings(cloud, upstream, auth),
                                    **options).wait_up()
    return start
