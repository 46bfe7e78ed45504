"""Public sample CTs that 3D Slicer registers as sample data, fetched once and kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...core.errors import InputError
from ...core.home import data_home
from ...core.i18n import _
from ...core.jobs import Job
from .cache import FileCache
from .offer import Consent, Licence, Offer, RemoteFile

SAMPLE_DATA_PAGE = "https://slicer.readthedocs.io/en/latest/user_guide/modules/sampledata.html"
DEFAULT_SAMPLE = "CTLiver"
_HOST = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"
_LICENCE = Licence(
    name="not known",
    url=SAMPLE_DATA_PAGE,
    holder=None,
    commercial_use=None,
    clinical_use=None,
    redistribution=None,
    summary="The terms of this scan are not known to GenesisSegment, so nothing but a look at it is assumed to be "
    "allowed. See what Slicer's Sample Data page says about it.",
)


@dataclass(frozen=True)
class Sample:
    """A CT that anyone can fetch. ``what`` says in a few words what it shows."""

    id: str
    what: str
    remote: RemoteFile
    licence: Licence = _LICENCE


def _sample(name: str, file: str, sha256: str, what: str) -> Sample:
    return Sample(name, what, RemoteFile(file, _HOST + sha256, SAMPLE_DATA_PAGE, None, sha256))


SAMPLES: dict[str, Sample] = {
    sample.id: sample
    for sample in (
        _sample(
            "CTLiver",
            "CTLiver.nrrd",
            "e16eae0ae6fefa858c5c11e58f0f1bb81834d81b7102e021571056324ef6f37e",
            "abdominal CT with liver lesions, from the Medical Segmentation Decathlon",
        ),
        _sample(
            "CTAAbdomenPanoramix",
            "Panoramix-cropped.nrrd",
            "146af87511520c500a3706b7b2bfb545f40d5d04dd180be3a7a2c6940e447433",
            "CT angiography of the abdomen",
        ),
        _sample(
            "CTACardio",
            "CTA-cardio.nrrd",
            "3b0d4eb1a7d8ebb0c5a89cc0504640f76a030b4e869e33ff34c564c3d3b88ad2",
            "cardiac CT angiography",
        ),
        _sample(
            "CTChest",
            "CT-chest.nrrd",
            "4507b664690840abb6cb9af2d919377ffc4ef75b167cb6fd0f747befdb12e38e",
            "chest CT",
        ),
    )
}


class SampleStore:
    """Fetches sample CTs into ``folder``, by default a part of the user's data folder."""

    def __init__(self, folder: Path | None = None, samples: dict[str, Sample] | None = None) -> None:
        self._cache = FileCache(folder or data_home() / "samples")
        self._samples = SAMPLES if samples is None else samples

    def __getitem__(self, name: str) -> Sample:
        """The sample called ``name``.

        Raises:
            InputError: there is none; the remedy lists the names.
        """
        if name not in self._samples:
            raise InputError(
                _('There is no sample "{name}".').format(name=name),
                _("Choose from: {names}.").format(names=", ".join(self._samples)),
            )
        return self._samples[name]

    def find(self, name: str = DEFAULT_SAMPLE) -> Path | None:
        """The file of a sample if it is here and whole; makes no request."""
        remote = self[name].remote
        return self._cache.path(remote.file) if self._cache.verified_state(remote) == "installed" else None

    def fetch(self, consent: Consent, job: Job, name: str = DEFAULT_SAMPLE) -> Path:
        """The file of a sample, downloaded if it is not here; ``consent`` is asked before the first request.

        Raises:
            ConsentError: not agreed; nothing was requested.
            NetworkError, OutputError: it could not be fetched or stored; says why.
            Cancelled: by the job; what has arrived is kept for the next time.
        """
        sample = self[name]
        by_hand = _("Or use --offline for a synthetic CT, or give a CT of your own.")
        offer = Offer(f"{sample.id} ({sample.what})", sample.remote, sample.licence, by_hand)
        return self._cache.download(offer, consent, job)
