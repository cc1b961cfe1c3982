"""What an Intel TDX guest says of itself: its TDREPORT, by ioctl, for information alone (`atlas attest info`).

A TDREPORT carries a MAC that only the processor which made it can check. It is no evidence: nothing here is signed, and
`verify` refuses one. What goes to others is a quote (atlas/tsm.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import os

from atlas.errors import MalformedError, UsageError
from atlas.tsm import REPORT_DATA_BYTES, CollectError, reason_of

DEVICE = "/dev/tdx_guest"

_GET_REPORT0 = 0xC4405401  # _IOWR('T', 1, struct { u8 reportdata[64]; u8 tdreport[1024]; })
_SIZE = 1024
_TDX = 0x81
_FIELDS = {  # offset and size; Intel TDX Module ABI, TDREPORT_STRUCT
    "tee_tcb_svn": (264, 16),
    "mrseam": (280, 48),
    "td_attributes": (512, 8),
    "xfam": (520, 8),
    "mrtd": (528, 48),
    "mrconfigid": (576, 48),
    "mrowner": (624, 48),
    "mrownerconfig": (672, 48),
    "rtmr0": (720, 48),
    "rtmr1": (768, 48),
    "rtmr2": (816, 48),
    "rtmr3": (864, 48),
}


def read(report_data: bytes = bytes(REPORT_DATA_BYTES), *, device: str | os.PathLike[str] = DEVICE) -> dict[str, bytes]:
    """The fields of a TDREPORT of this machine, as they are now. CollectError when there is none."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise UsageError(f"report data has {REPORT_DATA_BYTES} bytes, not {len(report_data)}")
    request = bytearray(report_data + bytes(_SIZE))
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _GET_REPORT0, request)
        finally:
            os.close(fd)
    except OSError as error:
        raise CollectError(reason_of(error), where=os.fspath(device), cause=error) from error
    return _fields(bytes(request[REPORT_DATA_BYTES:]), report_data, os.fspath(device))


def _fields(report: bytes, report_data: bytes, where: str) -> dict[str, bytes]:
    """Its digests of itself are compared: a report that is not whole says nothing."""
    parts = hashlib.sha384(report[256:495]).digest(), hashlib.sha384(report[512:1024]).digest()
    if report[0] != _TDX or (report[32:80], report[80:128]) != parts:
        raise MalformedError("not a TDREPORT", code="ATLAS_E_EVIDENCE", where=where)
    if report[128:192] != report_data:
        raise CollectError("WRONG_REPORT_DATA", where=where)
    return {name: report[offset : offset + size] for name, (offset, size) in _FIELDS.items()}
