"""What the case store tells of itself, in plain types.

A case that teaches and a case that judges have types of their own: what takes a :class:`TrainingRecord` cannot be given
the holdout by mistake, and neither can be made with the split of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import HoldoutError
from ...core.i18n import _
from ...core.rounds import Split


@dataclass(frozen=True)
class Correction:
    """The accepted mask of one class that counts, as it is the latest one.

    ``mask`` and ``changed`` name blobs; ``changed`` is "" where no model had proposed the class. ``model`` and
    ``model_sha256`` made the proposal. ``accepted`` is UTC in ISO 8601. ``times`` says how often it was accepted,
    with all that was accepted together with it.
    """

    label: str
    mask: str
    changed: str = ""
    voxels: int = 0
    changed_voxels: int = 0
    model: str = ""
    model_sha256: str = ""
    accepted: str = ""
    times: int = 1


@dataclass(frozen=True)
class _Record:
    """A case: hash of the scan, hash of the patient, split, and the reviewed classes. All others are unknown.

    ``ct`` names the blob of the CT, ``corrections`` are those of ``labels`` in the same order.
    """

    case: str
    patient: str
    split: Split
    labels: tuple[str, ...]
    ct: str = ""
    corrections: tuple[Correction, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The models whose proposals were corrected, each once."""
        return tuple(dict.fromkeys(c.model for c in self.corrections if c.model))

    @property
    def accepted(self) -> str:
        """When the latest mask was accepted."""
        return max((c.accepted for c in self.corrections), default="")

    @property
    def confirmed(self) -> tuple[str, ...]:
        """The labels that were accepted once more as they are: the person means it."""
        return tuple(c.label for c in self.corrections if c.times > 1)

    def correction(self, label: str) -> Correction:
        """The correction of a reviewed class.

        Raises:
            KeyError: nobody reviewed it.
        """
        for correction in self.corrections:
            if correction.label == label:
                return correction
        raise KeyError(label)


@dataclass(frozen=True)
class TrainingRecord(_Record):
    """A case that may teach a model.

    Raises:
        HoldoutError: it is of another split.
    """

    def __post_init__(self) -> None:
        if self.split != "train":
            raise HoldoutError(
                _("Case {case} belongs to the {split} split and must never be trained on.").format(
                    case=self.case[:12], split=self.split
                ),
                _("Please report this: it is a fault of GenesisSegment."),
            )


@dataclass(frozen=True)
class ProvingRecord(_Record):
    """A case that judges models and never teaches one.

    Raises:
        HoldoutError: it is of the train split.
    """

    def __post_init__(self) -> None:
        if self.split == "train":
            raise HoldoutError(
                _("Case {case} was trained on and proves nothing.").format(case=self.case[:12]),
                _("Please report this: it is a fault of GenesisSegment."),
            )


Record = TrainingRecord | ProvingRecord


@dataclass(frozen=True)
class CaseSummary:
    """One row of ``cases list``. ``acceptances`` says how often something was accepted.

    ``is_left_out``: its patient turned out to be one of a stricter split, too, so that it neither teaches nor judges.
    """

    case: str
    patient: str
    split: Split
    labels: tuple[str, ...]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    acceptances: int
    added: str
    accepted: str
    is_left_out: bool = False


@dataclass(frozen=True)
class AcceptanceSummary:
    """One acceptance of a case: which classes, who proposed each, how many voxels were changed, how."""

    id: str
    accepted: str
    model: str
    model_sha256: str
    seconds: float
    tools: tuple[str, ...]
    version: str
    changed_voxels: dict[str, int]
    voxels: dict[str, int]
    models: dict[str, str]


@dataclass(frozen=True)
class CaseDetail:
    """Everything that is known of a case."""

    summary: CaseSummary
    ct: str
    acceptances: tuple[AcceptanceSummary, ...]


@dataclass(frozen=True)
class StoreCounts:
    """``corrections`` is how often something was accepted; the splits count cases and add up to ``cases``."""

    cases: int
    corrections: int
    train: int
    validation: int
    holdout: int


@dataclass(frozen=True)
class IngestReport:
    """How many acceptances were ``added`` now and were there ``before``; ``damaged`` files were set aside."""

    added: int
    before: int
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerifyReport:
    """What a check of all files and rows found.

    ``damaged`` and ``missing`` are names of blobs that ``cases`` need; ``orphaned`` ones, that no case needs, were
    cleared away. ``foreign`` files do not belong into the folder. ``rows`` of the database are damaged.
    """

    checked: int
    damaged: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    orphaned: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether everything that was accepted is there and whole."""
        return not (self.damaged or self.missing or self.rows)


@dataclass(frozen=True)
class ImportReport:
    """What came out of an archive; ``notes`` are sentences on what the person should know, such as split conflicts."""

    added: int
    before: int
    cases: int
    notes: tuple[str, ...] = ()
