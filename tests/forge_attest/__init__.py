"""Forged hardware evidence: quotes, reports, logs and what vendors would say about them, under a PKI of our own.

Every certificate says "ATLAS TEST". Written from the specifications with the `cryptography` package; it shares no code
with csrc. A world is a frozen dataclass: `dataclasses.replace(world, svn=...)` is the same world with one thing wrong.
"""
