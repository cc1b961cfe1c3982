"""Puts this folder on the path: tests import `forge` from here."""

import os

# OpenMP threads that wait for a descheduled core make tiny models fifty times slower on a virtual machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
