"""Build of the C core.

`ATLAS_SANITIZE=address,undefined` adds sanitizers, `ATLAS_ABI3=0` builds without the stable ABI.
"""

import os
import shlex
import subprocess
import sysconfig
from glob import glob

from setuptools import Extension, setup

LIBRARIES = {  # pkg-config module -> Debian package
    "libcrypto >= 3.0": "libssl-dev",
    "libcbor >= 0.8": "libcbor-dev",
    "jansson >= 2.10": "libjansson-dev",
}
HEADERS = {"tss2-esys >= 3.0": "libtss2-dev"}  # never linked: found while the program runs, if a TPM is wanted


def pkg_config(option: str) -> list[str]:
    missing = []
    flags: list[str] = []
    modules = LIBRARIES | HEADERS if option == "--cflags" else LIBRARIES
    for module, package in modules.items():
        try:
            run = subprocess.run(["pkg-config", option, module], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise SystemExit("pkg-config is missing; on Debian: apt-get install pkg-config") from None
        if run.returncode != 0:
            missing.append(package)
        flags += shlex.split(run.stdout)
    if missing:
        raise SystemExit(f"libraries are missing; on Debian: apt-get install {' '.join(missing)}")
    return list(dict.fromkeys(flags))


free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
abi3 = os.environ.get("ATLAS_ABI3", "1") != "0" and not free_threaded
sanitize = os.environ.get("ATLAS_SANITIZE", "")

compile_args = (
    "-std=c11 -O3 -fvisibility=hidden -fstack-protector-strong -fno-strict-aliasing "
    "-Wall -Wextra -Wshadow -Wconversion -Wcast-qual -Wmissing-prototypes -Wvla -Wno-missing-field-initializers"
).split()
link_args = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
if sanitize:
    compile_args += [f"-fsanitize={sanitize}", "-O1", "-g", "-fno-omit-frame-pointer"]
    link_args += [f"-fsanitize={sanitize}"]
else:
    compile_args += ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]

extension = Extension(
    "atlas._core",
    sources=sorted(glob("csrc/*/*.c") + glob("csrc/port/*/*.c")),
    depends=sorted(glob("csrc/**/*.h", recursive=True)),
    include_dirs=["csrc"],
    define_macros=[("_GNU_SOURCE", "1")] + ([("Py_LIMITED_API", "0x030B0000")] if abi3 else []),
    extra_compile_args=compile_args + pkg_config("--cflags"),
    extra_link_args=link_args + pkg_config("--libs") + ["-pthread", "-ldl"],
    py_limited_api=abi3,
)

setup(
    ext_modules=[extension],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if abi3 else {},
)
