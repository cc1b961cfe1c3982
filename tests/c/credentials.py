"""Writes credentials.h, and with a directory as argument the seeds of the fuzz target x509:

    python tests/c/credentials.py tests/fuzz/corpus/x509 > tests/c/credentials.h

A small PKI with a token, revocation lists and OCSP responses, all of one fixed moment, for the C tests. The functions
of the C library are told the time, so these never expire.
"""

from __future__ import annotations

import datetime
import sys
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

sys.path.insert(0, str(Path(__file__).parent.parent))

from forge import pki, tsa

MOMENT = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
MESSAGE = b"the message that is time-stamped"

pki.NOW = MOMENT
pki.CA_PROFILE = replace(pki.CA_PROFILE, start=pki.days(-60), end=pki.days(3000))


def array(name: str, data: bytes) -> str:
    lines = (", ".join(f"0x{byte:02x}" for byte in data[i : i + 16]) for i in range(0, len(data), 16))
    body = ",\n    ".join(lines)
    return f"static const uint8_t {name}[{len(data)}] = {{\n    {body},\n}};\n"


def write_seeds(folder: Path, things: dict[str, bytes], authority: tsa.Tsa) -> None:
    """One file per reader of fuzz_x509.c: its number, then what it reads."""
    leaf, root = things["credentials_leaf"], things["credentials_root_pem"]
    public = pki.key("ES256", "party Alice").public_key()
    seeds = {
        "certificate": (0, leaf),
        "ca": (0, things["credentials_middle"]),
        "chain": (1, leaf),
        "token": (2, things["credentials_token"]),
        "response": (3, authority.response(things["credentials_token"])),
        "ocsp_good": (4, things["credentials_ocsp_good"]),
        "ocsp_revoked": (4, things["credentials_ocsp_revoked"]),
        "crl": (5, b64decode(b"".join(things["credentials_crl_revoked_pem"].splitlines()[1:-1]))),
        "crls_pem": (5, things["credentials_crls_pem"]),
        "pem": (6, root),
        "key": (7, things["credentials_key_pem"]),
        "public_key": (8, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (reader, data) in seeds.items():
        (folder / name).write_bytes(bytes([reader]) + data)


def main() -> None:
    dates = {"start": pki.days(-30), "end": pki.days(300)}
    root = pki.Authority.root("Test Root")
    middle = root.intermediate("Test Middle")
    alice = middle.leaf("Alice", **dates)
    authority = tsa.Tsa.under(middle, alg="ES256", **dates)
    responder = pki.responder(middle, **dates)
    gone = (alice.leaf, pki.days(-5))
    things = {
        "credentials_root_pem": root.pem.encode(),
        "credentials_leaf": alice.chain[0],
        "credentials_middle": alice.chain[1],
        "credentials_key_pem": alice.key_pem.encode(),
        "credentials_message": MESSAGE,
        "credentials_token": authority.token(MESSAGE, at=MOMENT),
        "credentials_crls_pem": (middle.crl() + root.crl()).encode(),
        "credentials_crl_revoked_pem": middle.crl(gone).encode(),
        "credentials_ocsp_good": middle.ocsp(alice.leaf, responder=responder),
        "credentials_ocsp_revoked": middle.ocsp(alice.leaf, revoked=gone[1]),
    }
    if len(sys.argv) > 1:
        write_seeds(Path(sys.argv[1]), things, authority)
    print("/* credentials.h - made by credentials.py; do not edit. */")
    print("#ifndef ATLAS_TEST_CREDENTIALS_H\n#define ATLAS_TEST_CREDENTIALS_H\n\n#include <stdint.h>\n")
    print(f"#define CREDENTIALS_NOW INT64_C({int(MOMENT.timestamp())})\n")
    for name, data in things.items():
        print(array(name, data))
    print("#endif")


if __name__ == "__main__":
    main()
