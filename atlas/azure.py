"""Evidence of a confidential VM on Azure: its vTPM quotes; a TDX quote or SEV-SNP report vouches for the vTPM's key.

    evidence = azure.collect(report_data)

On SEV-SNP all of it comes from the vTPM. On TDX the machine's own report becomes a quote by asking Azure's metadata
service (169.254.169.254, reachable from inside the VM alone): the only network access, and only here.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Sequence
from typing import Any

from atlas import _core
from atlas.errors import NotFound, SystemFailure
from atlas.tpm import PCRS, checked, facts, opened, qualifying_data, quoted
from atlas.tsm import Evidence
from atlas.web import exchange, host_of

HCL_REPORT = 0x01400001  # NV index
AK_HANDLE = 0x81000003
METADATA = "http://169.254.169.254/acc/tdquote"

_MAX_QUOTE_BYTES = 1 << 20
_TDREPORT = slice(32, 32 + 1024)
_TYPE = slice(1216 + 8, 1216 + 12)
_TDX = 4


def collect(
    report_data: bytes, *, tcti: str | None = None, pcrs: Sequence[int] = PCRS, metadata: str = METADATA
) -> Evidence:
    """A quote of the vTPM, bound to 64 bytes, with the report and quote that vouch for its key."""
    bits = checked(report_data, pcrs)
    with opened(tcti) as tpm:
        try:
            hcl = tpm.nv_contents(HCL_REPORT)
            parts: dict[str, Any] = {"atlas": "tpm-evidence", "v": 1, "ak": tpm.use_handle(AK_HANDLE)}
        except NotFound as error:
            raise NotFound(
                "the TPM holds no report of Azure's: this is no confidential VM there", where=f"NV {HCL_REPORT:#x}"
            ) from error
        parts |= quoted(tpm, bits, qualifying_data(report_data))
        parts["tpm"] = facts(tpm)
    parts["tee"] = {"hcl": hcl}
    if int.from_bytes(hcl[_TYPE], "little") == _TDX:
        parts["tee"]["quote"] = _td_quote(hcl[_TDREPORT], metadata)
    return Evidence("azure", "azure", _core.cbor_encode(parts), None)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _td_quote(report: bytes, url: str) -> bytes:
    """The quote for a TDREPORT of this machine."""
    host = host_of(url, what="the metadata service")
    body = json.dumps({"report": _encode(report)}).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")
    answer = exchange(request, host=host, limit=_MAX_QUOTE_BYTES)
    try:
        text = json.loads(answer.body)["quote"]
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, KeyError, TypeError):
        raise SystemFailure("the answer holds no quote", where=host) from None
