#!/usr/bin/env python3
"""Make key stores as seeds for fuzz_keystore: seed_keystore.py DIRECTORY"""
import os
import subprocess
import sys
import tempfile

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
with tempfile.TemporaryDirectory() as d:
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=fuzz",
                    "-keyout", d + "/key.pem", "-out", d + "/cert.pem"], check=True, capture_output=True)
    for name, options in {
        "plain": ["-keypbe", "NONE", "-certpbe", "NONE", "-nomac"],
        "mac": ["-keypbe", "NONE", "-certpbe", "NONE", "-iter", "1"],
        "usual": ["-iter", "1"],
        "legacy": ["-legacy", "-iter", "1"],
        "no-key": ["-nokeys", "-certpbe", "NONE", "-nomac"],
        "no-certificate": ["-nocerts", "-keypbe", "NONE", "-nomac"],
    }.items():
        subprocess.run(["openssl", "pkcs12", "-export", "-in", d + "/cert.pem", "-inkey", d + "/key.pem", "-passout", "pass:",
                        "-out", os.path.join(out, name), *options], check=True, capture_output=True)
with open(os.path.join(out, "jks"), "wb") as f:
    f.write(bytes.fromhex("feedfeed00000002") + bytes(32))
