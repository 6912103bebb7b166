#!/usr/bin/env python3
"""A programmer station in Python, standard library only: python3 station.py SERVER[:PORT] PRODUCT_KEY COMMAND... < ids

For each DeviceID, a line of standard input: asks the distribution server for its certificate, starts COMMAND with the reply's JSON on its
standard input, and reports the certificate as written when COMMAND has ended with 0. The same id gets the same certificate, so
a board that failed is simply put on again. STATION_TOKEN in the environment is the station's token, if the server wants one.

An example to start from. `causeway factory station` does the same, with TLS, scanners, several boards at once and a journal.
"""
import http.client
import json
import os
import subprocess
import sys
import zlib

TRIES = 3


def exchange(server, body):
    """One request; the reply as a dict. Repeated when nothing came, which costs no certificate: it has a DeviceID."""
    headers = {"Content-Type": "application/json"}
    if "STATION_TOKEN" in os.environ:
        headers["Authorization"] = "Bearer " + os.environ["STATION_TOKEN"]
    for left in reversed(range(TRIES)):
        line = http.client.HTTPConnection(server, None if ":" in server else 8000, timeout=10)
        try:
            line.request("POST", "/", json.dumps(body), headers)
            return json.loads(line.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as e:
            if not left:
                raise RuntimeError(f"no reply of {server}: {e}") from None
        finally:
            line.close()


def certificate(server, product_key, device_id):
    """A checked certificate, or RuntimeError."""
    reply = exchange(server, {"ProductKey": product_key, "DeviceID": device_id, "Action": 0})
    if reply.get("Status") != "OK":
        raise RuntimeError(f"{reply.get('Status')}: {reply.get('Message', 'refused')}")
    payload = "".join(reply[part] for part in ("ProductKey", "DeviceName", "DeviceSecret", "ProductSecret"))
    sent = reply["CRC32"] if isinstance(reply["CRC32"], int) else int(reply["CRC32"], 16)
    if sent not in (zlib.crc32(payload.encode()), zlib.crc32(f"{payload}{reply.get('ProductID', '')}".encode())):
        raise RuntimeError("CRC32 of the reply does not belong to its certificate")
    return reply


def burn(server, product_key, device_id, command):
    cert = certificate(server, product_key, device_id)
    subprocess.run(command, input=json.dumps(cert).encode(), check=True)
    # Only now: the board has it.
    report = exchange(server, {"ProductKey": product_key, "DeviceID": cert.get("DeviceID") or device_id, "Action": 1})
    if report.get("Status") != "OK":
        raise RuntimeError(f"written, but not reported: {report.get('Status')}")
    return cert["DeviceName"]


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    server, product_key, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    failed = 0
    for device_id in filter(None, map(str.strip, sys.stdin)):
        try:
            print(device_id, burn(server, product_key, device_id, command), "written", flush=True)
        except (RuntimeError, KeyError, ValueError, OSError, subprocess.CalledProcessError) as e:
            failed += 1
            print(device_id, "-", e, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
