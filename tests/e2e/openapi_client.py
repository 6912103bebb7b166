"""A client of the management API, written from the documents with Python's hmac: signature 1.0, GET and POST, JSON and XML."""
import base64
import hashlib
import hmac
import http.client
import json
import time
import urllib.parse
import uuid
import xml.etree.ElementTree

KEY = ("EmuAccessKeyId01", "EmuAccessKeySecret0123456789AB")


def encode(text):
    return urllib.parse.quote(text, safe="-_.~")


def string_to_sign(method, params):
    pairs = sorted(((k, v) for k, v in params.items() if k != "Signature"), key=lambda p: p[0].encode())
    query = "&".join(encode(k) + "=" + encode(v) for k, v in pairs)
    return method + "&%2F&" + encode(query)


def sign(secret, method, params):
    digest = hmac.new((secret + "&").encode(), string_to_sign(method, params).encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def common(action, key=KEY, at=None, **more):
    """Parameters of a call, unsigned. A value of None takes one away."""
    params = {"Action": action, "Version": "2018-01-20", "AccessKeyId": key[0], "SignatureMethod": "HMAC-SHA1",
              "SignatureVersion": "1.0", "SignatureNonce": uuid.uuid4().hex, "RegionId": "cn-shanghai", "Format": "JSON",
              "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))}
    params.update({k: str(v) for k, v in more.items() if v is not None})
    return {k: v for k, v in params.items() if k not in more or more[k] is not None}


def flat(name, values):
    return {f"{name}.{i}": v for i, v in enumerate(values, 1)}


class OpenApi:
    """address: "host:port". context: an SSL context, for HTTPS."""

    def __init__(self, address, key=KEY, context=None):
        self.address = address
        self.key = key
        self.context = context

    def send(self, method, params, in_body=None):
        """(status, content type, body). By default POST has everything in its body, as older SDKs do."""
        query, body = urllib.parse.urlencode(params, quote_via=urllib.parse.quote), None
        if method == "POST" if in_body is None else in_body:
            query, body = "", query
        host, port = self.address.rsplit(":", 1)
        if self.context:
            connection = http.client.HTTPSConnection(host, int(port), timeout=30, context=self.context)
        else:
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        connection.request(method, "/?" + query if query else "/", body, headers)
        answer = connection.getresponse()
        data = answer.read().decode()
        connection.close()
        return answer.status, answer.headers["Content-Type"], data

    def raw(self, action, method="GET", in_body=None, **params):
        params = common(action, self.key, **params)
        params["Signature"] = sign(self.key[1], method, params)
        return self.send(method, params, in_body)

    def call(self, action, method="POST", **params):
        """(status, decoded JSON)"""
        status, content_type, data = self.raw(action, method, **params)
        assert content_type == "application/json;charset=utf-8", (content_type, data)
        return status, json.loads(data)

    def ok(self, action, **params):
        status, body = self.call(action, **params)
        assert status == 200 and body["Success"] is True, body
        assert "Code" not in body, body
        return body

    def fails(self, action, **params):
        """Code of a call that the service refuses."""
        status, body = self.call(action, **params)
        assert status == 200 and body["Success"] is False and body["ErrorMessage"], (status, body)
        return body["Code"]

    def refused(self, action, **params):
        """(status, code) of a call that the gateway refuses."""
        status, body = self.call(action, **params)
        assert "Success" not in body and body["Message"] and body["HostId"], (status, body)
        return status, body["Code"]


def xml_of(text):
    return xml.etree.ElementTree.fromstring(text)
