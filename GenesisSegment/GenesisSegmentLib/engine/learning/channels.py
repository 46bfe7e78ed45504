"""Which channel of a network is which class or structure, and how a network gets more of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ...core.classes import class_slugs, class_table
from ...core.errors import InputError
from ...core.i18n import _
from ...core.segmentation import MOST_OWN

if TYPE_CHECKING:
    from torch import Tensor

    from ..networks.universal import UniversalModel


@dataclass(frozen=True)
class Channels:
    """The names of a network's channels, in channel order: slugs of the class table, then structures of one's own."""

    labels: tuple[str, ...]

    @classmethod
    def of_classes(cls, classes: Iterable[int] | None = None, own: Iterable[str] = ()) -> Channels:
        """Those of a model with these class indices in channel order (by default all 32), and ``own`` structures."""
        table = class_table()
        return cls((*(table[c].slug for c in (table if classes is None else classes)), *own))

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, label: str) -> bool:
        return label in self.labels

    def channel(self, label: str) -> int:
        """The 0-based channel of a label.

        Raises:
            InputError: the network has none of that name.
        """
        if label not in self.labels:
            raise InputError(
                _('The model has no channel for "{label}".').format(label=label),
                _("It has: {names}.").format(names=", ".join(self.labels)),
            )
        return self.labels.index(label)

    def extended(self, labels: Iterable[str]) -> Channels:
        """With a channel behind the others for every label that has none yet, in the order given.

        Raises:
            InputError: these are more structures of one's own than can be drawn.
        """
        wider = Channels(tuple(dict.fromkeys((*self.labels, *labels))))
        if len(wider.own()) > MOST_OWN:
            raise InputError(
                _("A model can learn {most} structures of your own; with these it would have {count}.").format(
                    most=MOST_OWN, count=len(wider.own())
                ),
                _("Learn some of them in a model of their own, from the starter."),
            )
        return wider

    def own(self) -> tuple[str, ...]:
        """The labels that are not in the class table."""
        return tuple(label for label in self.labels if label not in class_slugs())

    def cleared_by(self, kept: int, reviewed: int) -> bool:
        """Whether a voxel that a person gave to channel ``reviewed`` cannot belong to channel ``kept`` as well.

        Two organs exclude each other. A lesion lies in its hosts, the vessels of the liver in the liver; what a
        structure of one's own lies in is not known: these may overlap.
        """
        by_slug = {c.slug: c for c in class_table().values()}
        one, other = by_slug.get(self.labels[kept]), by_slug.get(self.labels[reviewed])
        if one is None or other is None or one is other or (one.is_lesion and other.is_lesion):
            return False
        if {one.slug, other.slug} == {"liver", "hepatic_vessel"}:
            return False
        return other.index not in one.hosts and one.index not in other.hosts


def widened(network: UniversalModel, count: int, seed: int = 0) -> UniversalModel:
    """A copy of the network with ``count`` channels; the logits of those it had are the same to the bit.

    A channel of the head is made from its row of the embedding by weights that all share, so a new channel is a new
    row. Rows of text features get a direction at right angles to all others and their mean length: what is learned of
    it then hardly touches the others. Learned rows start like the others, at random.

    Raises:
        InputError: ``count`` is smaller than what the network has.
    """
    import torch

    if count < network.classes:
        raise InputError(
            _("A network of {count} channels cannot be narrowed to {wanted}.").format(
                count=network.classes, wanted=count
            )
        )
    wide = copy.deepcopy(network)
    added = count - network.classes
    if not added:
        return wide
    draw = torch.Generator().manual_seed(seed + network.classes)
    if network.embedding == "word":
        rows = cast("Tensor", network.organ_embedding).detach()
        wide.register_buffer("organ_embedding", torch.cat([rows, _apart(rows, added, draw).to(rows)]))
    else:
        weight = network.organ_embedding.weight.detach()
        fresh = torch.randn(added, weight.shape[1], generator=draw).to(weight) * weight.std()
        wide.organ_embedding = torch.nn.Embedding.from_pretrained(torch.cat([weight, fresh]), freeze=False)
    wide.classes = count
    return wide


def _apart(rows: Tensor, added: int, draw: object) -> Tensor:
    """Vectors (added, features) at right angles to all ``rows`` and to each other, as long as these are on average."""
    import torch

    known = rows.double().cpu()
    fresh = torch.randn(added, rows.shape[1], generator=draw, dtype=torch.float64)  # type: ignore[call-overload]
    base, _triangle = torch.linalg.qr(torch.cat([known, fresh]).T)
    length = known.norm(dim=1).mean().clamp(min=1.0)
    return base.T[len(known) : len(known) + added] * length
