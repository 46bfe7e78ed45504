"""CTs to try the module with, in the Sample Data module; nothing is fetched before the person clicks one there."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.resources import resource
from .compat import register_sample_category

CATEGORY = "GenesisSegment"
_HOST = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"


@dataclass(frozen=True)
class Sample:
    """A CT among Slicer's public testing data, found by its checksum."""

    name: str
    file: str
    sha256: str
    title: str

    @property
    def url(self) -> str:
        """Where it is fetched from."""
        return _HOST + self.sha256


SAMPLES: tuple[Sample, ...] = (
    Sample(
        "CTLiver",
        "CTLiver.nrrd",
        "e16eae0ae6fefa858c5c11e58f0f1bb81834d81b7102e021571056324ef6f37e",
        "Abdomen with liver lesions",
    ),
    Sample(
        "CTAAbdomenPanoramix",
        "Panoramix-cropped.nrrd",
        "146af87511520c500a3706b7b2bfb545f40d5d04dd180be3a7a2c6940e447433",
        "CT angiography of the abdomen",
    ),
    Sample(
        "CTChest",
        "CT-chest.nrrd",
        "4507b664690840abb6cb9af2d919377ffc4ef75b167cb6fd0f747befdb12e38e",
        "Chest",
    ),
)


def register() -> None:
    """Tells Sample Data of the CTs, with their checksums; nothing where Slicer was started without that module."""
    try:
        import SampleData
    except ImportError:
        return
    logic = SampleData.SampleDataLogic
    register_sample_category(logic, CATEGORY)
    for sample in SAMPLES:
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=sample.title,
            uris=sample.url,
            fileNames=sample.file,
            nodeNames=sample.name,
            checksums=f"SHA256:{sample.sha256}",
            thumbnailFileName=str(resource("Icons/GenesisSegment.png")),
            loadFileType="VolumeFile",
        )
