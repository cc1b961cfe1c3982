"""One door to a log, wherever it is: a folder of this machine, Rekor v2, or `atlas log serve` on another machine.

`submit` takes entries and gives back a proof for each, verified under the policy before anybody sees it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from atlas import _core
from atlas.errors import AtlasError, UsageError, VerificationError
from atlas.files import StrPath, read_regular
from atlas.proofs import default_log_policy, leaf_of, policy_text, read_log_policy, remember_head
from atlas.store import Store

MAX_TOKEN_BYTES = 4096
WITNESS_SECONDS = 5.0
_SCHEMES = ("http://", "https://")
_NAMED = frozenset(("ES256", "ES384", "ES512", "EDDSA", "ED25519", "PS256"))  # format/hashedrekord.c


def is_url(place: object) -> bool:
    return isinstance(place, str) and place.startswith(_SCHEMES)


@dataclass(frozen=True, slots=True)
class LogTarget:
    """Where to log: `place` is a folder made by `atlas log init`, or a URL.

    A URL is that of a Rekor v2 server, or with `token_file` that of `atlas log serve`. `read_url` is where its tiles
    are read. `policy` is a c2sp.org/tlog-policy file: whose keys and cosignatures a proof needs; without one
    ATLAS_LOG_POLICY and the user's own configuration are asked. `key` is the private key of a folder's log, where the
    store has none.
    """

    place: str
    policy: StrPath | None = None
    read_url: str | None = None
    token_file: StrPath | None = None
    key: StrPath | None = None
    witness_seconds: float = field(default=WITNESS_SECONDS, compare=False)

    @classmethod
    def of(cls, value: StrPath | LogTarget) -> LogTarget:
        """What `atlas.init(log=...)` may be given. Folders become absolute: the program may change its directory."""
        if isinstance(value, LogTarget):
            return value.absolute()
        place = os.fspath(value)
        if not place:
            raise UsageError("log: neither a folder nor a URL", hint="log='logs/team', or log='https://rekor.example'")
        return cls(
            place,
            read_url=os.environ.get("ATLAS_LOG_READ_URL") or None,
            token_file=os.environ.get("ATLAS_LOG_TOKEN_FILE") or None,
        ).absolute()

    def absolute(self) -> LogTarget:
        """The same in the queue, which is read in other directories."""

        def place(path: StrPath | None) -> str | None:
            return None if path is None else str(Path(path).expanduser().absolute())

        return replace(
            self,
            place=self.place if self.remote else str(place(self.place)),
            policy=place(self.policy),
            token_file=place(self.token_file),
            key=place(self.key),
        )

    @property
    def remote(self) -> bool:
        return is_url(self.place)

    @property
    def rekor(self) -> bool:
        return self.remote and self.token_file is None

    def check(self, alg: str | None, store: Store) -> None:
        """UsageError now for what would make every submission fail later: keys, policy, a folder that is no log."""
        if self.rekor and alg is not None:
            from atlas.remote.rekor import check_algorithm

            check_algorithm(alg)
        if alg is not None and alg.upper() not in _NAMED:
            raise UsageError(
                f"entries of logs have no name for signatures by {alg}",
                where="log",
                hint="sign with es256, es384, es512, ed25519 or ps256 (`atlas keygen --alg`)",
            )
        if self.remote:
            _remote_keys(self.policy_for(store), self.place)
        else:
            _opened(self, store)
        if self.token_file is not None:
            _token(self.token_file)

    def policy_for(self, store: Store) -> bytes:
        if self.policy is not None:
            return read_log_policy(self.policy)
        chosen = default_log_policy(store)
        if self.remote:
            return chosen
        from atlas.log import known_key, origin_of
        from atlas.remote.policy import parse_log_policy

        # A log of one's own needs no line in a policy: its key is in the store. What lies in its folder says nothing.
        known = known_key(origin_of(self.place), store=store.directory)
        named = bool(chosen) and known in parse_log_policy(chosen.decode()).log_keys
        return policy_text([known]) if known and not named else chosen

    def submit(self, entries: Sequence[bytes], store: Store) -> list[bytes | AtlasError]:
        """A verified proof for each entry, or why there is none."""
        policy = self.policy_for(store)
        if not self.remote:
            return list(_append(self, entries, policy, store))
        found: list[bytes | AtlasError] = []
        for entry in entries:
            try:
                found.append(_checked(_send(self, entry, policy), entry, policy, store))
            except AtlasError as error:
                found.append(error)
        return found


def _checked(proof: bytes, entry: bytes, policy: bytes, store: Store) -> bytes:
    """By the C core, whoever made the proof; and the checkpoint is remembered."""
    origin, _, size, root, _ = _core.LogPolicy(policy).entry(entry, proof)
    remember_head(store, origin, size, root, _core.log_proof_read(proof)[2])
    return proof


# ------------------------------------------------------------------------------------------------------------ a folder


def _opened(target: LogTarget, store: Store):  # type: ignore[no-untyped-def]
    from atlas.log import TileLog

    return TileLog(target.place, key=target.key, store=store.directory)


def _append(target: LogTarget, entries: Sequence[bytes], policy: bytes, store: Store) -> list[bytes]:
    """One commit for all that are new; one checkpoint, cosigned by the policy's witnesses, for all proofs."""
    from atlas.remote.proof import encode_proof

    log = _opened(target, store)
    log.refresh()
    places = [log.find(leaf_of(entry)) for entry in entries]
    new = list(dict.fromkeys(entry for entry, place in zip(entries, places, strict=True) if place is None))
    if new:
        first = log.append(new).first
        added = {entry: first + n for n, entry in enumerate(new)}
        places = [added[entry] if place is None else place for entry, place in zip(entries, places, strict=True)]
    head = log.head()
    note = _cosigned(log, head.checkpoint, policy, target.witness_seconds)
    found = []
    for entry, place in zip(entries, places, strict=True):
        assert place is not None
        proof = log.prove(place, head.size)
        found.append(_checked(encode_proof(place, proof.path, note), entry, policy, store))
    return found


def _cosigned(log, note: bytes, policy: bytes, seconds: float) -> bytes:  # type: ignore[no-untyped-def]
    from atlas.remote.policy import parse_log_policy

    witnesses = parse_log_policy(policy.decode()).reachable()
    if not witnesses:
        return note
    from atlas.remote.checkpoint import open_checkpoint
    from atlas.remote.witness import cosign

    checkpoint = open_checkpoint(note, [log.vkey], where=str(log.folder))
    cosigned = cosign(
        checkpoint,
        witnesses,
        lambda size: log.consistency(size, checkpoint.size),
        since=checkpoint.size,
        timeout=seconds,
    )
    if cosigned.by:
        log.publish(cosigned.note)
    return cosigned.note


# ------------------------------------------------------------------------------------------------------------ a server


def _remote_keys(policy: bytes, place: str) -> tuple[list[str], dict[str, str]]:
    from atlas.remote.policy import parse_log_policy

    found = parse_log_policy(policy.decode()) if policy else None
    if found is None or not found.logs:
        raise UsageError(
            "no key of this log is known, so its proofs could not be verified",
            where=place,
            hint="its operator has the key: write `log VKEY` and `quorum none` into a file, and name it with "
            "--log-policy or ATLAS_LOG_POLICY",
        )
    return found.log_keys, found.log_urls


def _token(path: StrPath) -> str:
    """Checked here: http.client quotes what it cannot send, and the secret would stand in errors and in the queue."""
    token = read_regular(path, limit=MAX_TOKEN_BYTES).decode("utf-8", "replace").strip()
    if not token or not token.isascii() or not token.isprintable():
        raise UsageError("not a token: one line of ASCII is expected", where=os.fspath(path))
    return token


def _send(target: LogTarget, entry: bytes, policy: bytes) -> bytes:
    from atlas.remote import append, rekor
    from atlas.remote.policy import parse_log_policy

    keys, urls = _remote_keys(policy, target.place)
    accept = parse_log_policy(policy.decode()).check
    read_url = target.read_url or (next(iter(urls.values())) if len(urls) == 1 else target.place)
    if target.token_file is not None:
        token = _token(target.token_file)
        return append.submit(
            entry, url=target.place, token=token, log_keys=keys, read_url=read_url, accept=accept
        )
    return rekor.submit(entry, url=target.place, read_url=read_url, log_keys=keys, accept=accept)


__all__ = ["LogTarget", "VerificationError", "is_url"]
