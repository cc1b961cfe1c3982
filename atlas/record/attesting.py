"""Attesting: which hardware evidence the manifests of a run carry. The run's wish, or that of the innermost step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas.claim import Gap, sign_manifest
from atlas.errors import AtlasError
from atlas.evidence import Attest, Attester, NotAttested
from atlas.model import SignedManifest
from atlas.record.ledger import Load
from atlas.record.steps import Step
from atlas.runtime_log import Operation

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

WHAT = "hardware evidence"


class Attesting:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._attesters: dict[Attest, Attester | None] = {}

    def begin(self) -> None:
        """Before anything is trained. NotAttested when the run requires evidence and none is to be had."""
        self._attester(self._recorder.settings.attest)

    def wish(self, text: str | None) -> Attest | None:
        """What a step asks for in words, from the hardware that the run asks."""
        if text is None:
            return None
        wanted = Attest.of(text)
        of_run = self._recorder.settings.attest
        return wanted if of_run.level == "off" else of_run.asked(wanted.level, wanted.mode)

    def demand(self, text: str | None) -> Attest | None:
        """A step is about to begin: NotAttested when it requires evidence and none is to be had."""
        wanted = self.wish(text)
        if wanted is not None:
            self._attester(wanted)
        return wanted

    def sign(self, place: Step, /, **claim: Any) -> SignedManifest:
        """`sign_manifest` with the evidence that this step wants. What is wished for and not there becomes a gap."""
        attest = next((step.attest for step in place.lineage() if step.attest), self._recorder.settings.attest)
        try:
            return sign_manifest(**claim, attester=self._attester(attest))
        except NotAttested as error:
            if attest.level == "require":
                raise
            gap = self._recorder.clean_gap(Gap(WHAT, f"not attested: {error.text}"))
            return sign_manifest(**claim | {"gaps": [*claim["gaps"], gap]})

    def tell(self, operation: Operation, digest: object) -> None:
        """A line in the run-time log, where one is kept."""
        log = next((each for each in self._attesters.values() if each is not None and each.keeps_log), None)
        if log is not None:
            with self._recorder.guard("keeping the run-time log"):
                log.tell(operation, digest=str(digest))

    def read(self, load: Load) -> None:
        data = load.measurement.kind == "directory" or load.role.endswith("data")
        self.tell("dataset-open" if data else "model-load", load.measurement.tree or load.measurement.flat)

    def _attester(self, attest: Attest) -> Attester | None:
        signer = self._recorder.signer
        if attest.level == "off" or signer is None:
            return None
        if attest not in self._attesters:
            self._attesters[attest] = self._started(attest, Attester(attest, signer, self._recorder.id))
        return self._attesters[attest]

    def _started(self, attest: Attest, attester: Attester) -> Attester | None:
        try:
            if not any(each is not None and each.keeps_log for each in self._attesters.values()):
                with self._recorder.guard("keeping the run-time log"):
                    attester.keep_log()
            attester.start()
        except (AtlasError, OSError) as error:
            if attest.level == "require":
                raise error if isinstance(error, NotAttested) else NotAttested(str(error)) from error
            reason = error.text if isinstance(error, AtlasError) else str(error)
            self._recorder.gap(Gap(WHAT, f"not attested: {reason}"), self._recorder.steps.top)
            return None
        return attester
