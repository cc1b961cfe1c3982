"""Write the seeds of the fuzz targets: `python -m forge_attest.corpus fuzz/corpus` in tests/."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from . import ccel, runtime_log
from .gpu import Gpu
from .snp import Snp
from .tdx import Tdx, td15
from .tpm import RSASSA, Tpm, hcl_report

SHORT = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
EVENTS = [(1, ccel.VARIABLE, b"SecureBoot"), (2, ccel.SEPARATOR, bytes(4)), (0, ccel.NO_ACTION, b"x"), (4, 13, b"y")]


def seeds() -> dict[str, dict[str, bytes]]:
    return {
        "tdx_quote": {
            "v4": Tdx(cert_data=SHORT).quote(),
            "v5": td15(cert_data=SHORT, qe_auth=b"").quote(),
            "v5ex": td15(body_type=4, cert_type=3).quote(),
            "trailing": Tdx(cert_data=SHORT + b"\0", trailing=bytes(40)).quote(),
        },
        "snp": {"vcek": Snp().report(), "vlek": Snp(vlek=True).report() + b"\0", "v5": Snp(version=5).report()},
        "spdm": {
            "hopper": Gpu().report(),
            "short": Gpu(measurements={1: b"x"}).report(),
            "none": Gpu(measurements={}).report(),
        },
        "ccel": {
            "log": ccel.log(EVENTS, size=1024),
            "zeros": ccel.log(EVENTS, size=600, padding=b"\0"),
            "two": ccel.header([(ccel.SHA256, 32), (ccel.SHA384, 48)]) + ccel.event(1, 4, b"data"),
        },
        "runtime_log": {
            "empty": runtime_log.log([]),
            "lines": runtime_log.log([b'org.atlasml/v1 checkpoint {"sha256":"00"}', b"another line"], bytes(range(48))),
        },
        "tpm": {
            "evidence": Tpm().evidence(),
            "certified": Tpm(certified=True, log=None, words={"vendor": "x"}).evidence(),
            "quote": Tpm().quote(),
            "nv_certify": Tpm().nv_certify(),
            "public": Tpm().public(),
            "signature": Tpm().sign(b"x"),
            "nv_public": Tpm().nv_public(),
            "rsa": Tpm(scheme=RSASSA).public(),
            "hcl": hcl_report(b'{"keys":[{"kid":"HCLAkPub","kty":"RSA","e":"AQAB","n":"AQAB"}]}'),
        },
        "json_span": {
            "pcs": Tdx(levels=(), modules=()).raw_bodies()[0],
            "bundle": json.dumps({"tcb_info": Tdx(levels=(), modules=()).tcb_info(), "signature": "00"}).encode(),
            "spaces": b' { "tcbInfo" : { "a" : [ 1 , -2.5e3 , true , null , "\\"]}" ] } , "signature" : "" } \n',
            "empty": b"{}",
            "deep": b'{"tcbInfo":' + b"[" * 31 + b"]" * 31 + b"}",
        },
        "vendor": {
            "pck": Tdx().pck.der(),
            "processor": Tdx(configuration=None).pck.der(),
            "vcek": Snp().leaf.der(),
            "vlek": Snp(vlek=True).leaf.der(),
            "gpu": Gpu().leaf.der(),
            "dice": Gpu(fwid_form="tcb info").leaf.der(),
        },
    }


def main(folder: str) -> None:
    for target, files in seeds().items():
        place = Path(folder) / target
        place.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (place / name).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1])
