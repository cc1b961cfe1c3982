"""A software TPM (swtpm) for the tests, with an endorsement certificate under a CA of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NEEDED = ("swtpm", "swtpm_setup", "swtpm_localca")


def missing() -> str:
    """What is not installed; "" when all is there."""
    return " ".join(tool for tool in NEEDED if shutil.which(tool) is None)


class Swtpm:
    """One TPM, from `with` to its end. Its socket lies in a short path: a socket's name has 107 bytes at most."""

    def __init__(self, *, certified: bool = True) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="atlas-tpm-"))
        self.certified = certified
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def tcti(self) -> str:
        return f"swtpm:path={self.folder}/tpm"

    @property
    def roots(self) -> bytes:
        return (self.folder / "swtpm-localca-rootca-cert.pem").read_bytes()

    @property
    def issuer(self) -> bytes:
        return (self.folder / "issuer.pem").read_bytes()

    def _manufacture(self) -> None:
        place = self.folder
        (place / "localca.conf").write_text(
            f"statedir = {place}\nsigningkey = {place}/key.pem\nissuercert = {place}/issuer.pem\n"
            f"certserial = {place}/serial\n"
        )
        (place / "options").write_text("--platform-manufacturer Test\n--platform-version 1\n--platform-model Test\n")
        (place / "setup.conf").write_text(
            f"create_certs_tool = {shutil.which('swtpm_localca')}\ncreate_certs_tool_config = {place}/localca.conf\n"
            f"create_certs_tool_options = {place}/options\nactive_pcr_banks = sha256\n"
        )
        command = ["swtpm_setup", "--tpm2", "--tpmstate", str(place), "--create-ek-cert"]
        subprocess.run([*command, "--config", str(place / "setup.conf")], check=True, capture_output=True)

    def __enter__(self) -> Swtpm:
        try:
            if self.certified:
                self._manufacture()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self) -> None:
        place = self.folder
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={place}", "--flags", "not-need-init,startup-clear"]
        channels = ["--server", f"type=unixio,path={place}/tpm", "--ctrl", f"type=unixio,path={place}/tpm.ctrl"]
        self.process = subprocess.Popen([*command, *channels], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while not (place / "tpm.ctrl").exists() or not (place / "tpm").exists():
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError("swtpm does not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """As when the machine is switched off: what is not written down is gone."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None
        for name in ("tpm", "tpm.ctrl"):
            (self.folder / name).unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
