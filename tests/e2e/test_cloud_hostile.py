"""What peers must not be able to do to the emulator: pages of other origins, growth without end, state that comes back."""
import http.client
import json

import pytest
from cloud_client import DEV
from openapi_client import OpenApi


def call(address, method, path, body=None, **headers):
    """(status, body) with header fields just as given."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders(body)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


# ---- pages of somebody else ----


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_origin_changes_nothing(cloud, origin):
    api = cloud.process.ready["api"]
    body = json.dumps({"kind": "drop"}).encode()
    for headers in ({}, {"Content-Type": "text/plain"}):
        assert call(api, "POST", "/api/v1/faults", body, Origin=origin, **headers)[0] == 403
    assert call(api, "POST", "/api/v1/reset", Origin=origin)[0] == 403
    assert call(api, "GET", "/api/v1/messages/stream", Origin=origin)[0] == 403
    assert cloud.get("/faults")["faults"] == []


def test_the_emulators_own_page_and_programs_may(cloud):
    api = cloud.process.ready["api"]
    port = api.rsplit(":", 1)[1]
    assert call(api, "POST", "/api/v1/reset", Origin=f"http://{api}")[0] == 204
    assert call(api, "POST", "/api/v1/reset", Origin=f"http://localhost:{port}", Host=f"localhost:{port}")[0] == 204
    assert call(api, "POST", "/api/v1/reset")[0] == 204
    assert call(api, "GET", "/")[0] == 200


def test_a_name_that_was_made_to_resolve_here_is_refused(cloud):
    api = cloud.process.ready["api"]
    port = api.rsplit(":", 1)[1]
    for path in ("/", "/api/v1/devices", "/api/v1/messages"):
        assert call(api, "GET", path, Host=f"evil.test:{port}")[0] == 403
    assert call(api, "POST", "/api/v1/reset", Host=f"evil.test:{port}", Origin=f"http://evil.test:{port}")[0] == 403


def test_listening_for_others_any_name_will_do(start_cloud):
    cloud = start_cloud('listeners { api = "0.0.0.0:0" }')
    port = cloud.process.ready["api"].rsplit(":", 1)[1]
    assert call(f"127.0.0.1:{port}", "GET", "/api/v1/devices", Host=f"cloud.test:{port}")[0] == 200


def test_pages_do_not_sign_management_calls(cloud):
    openapi = cloud.process.ready["openapi"]
    assert OpenApi(openapi).ok("QueryDevice", ProductKey=DEV[0])
    assert call(openapi, "GET", "/?Action=QueryDevice", Origin="http://evil.test")[0] == 403
