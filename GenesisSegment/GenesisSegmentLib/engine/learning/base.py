"""What a round starts from: the current model, another one, or Genesis-style weights for something new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...core.errors import ModelError
from ...core.i18n import _
from ..models.catalogue import ModelFacts
from ..models.offer import Licence
from ..models.store import CURRENT, STARTER, ModelStore
from .channels import Channels

if TYPE_CHECKING:
    from ..checkpoints import Checkpoint
    from ..models.resolved import ResolvedModel
    from ..networks.universal import UniversalModel

PUBLISHED_GENESIS = "genesis_chest_ct"
OWN_GENESIS = "genesis_own.pt"
"""File of weights of one's own in the folder of the models, as ``genesis-segment pretrain`` writes it."""
_TARGETS = {"genesis_unet3d": "universal_unet", "genesis_starter": "starter"}
"""The network that Genesis weights initialise; its grid and intensities are those of the catalogue."""


@dataclass(frozen=True, eq=False)
class Base:
    """A network to go on from, and what is known of it.

    ``name`` is a model, a version, or a file with Genesis weights; ``base_model`` the one at the root of all.
    ``channels`` names the network's channels. ``rival`` is the model that the new one must beat, whatever it starts
    from: the one that is in use when the round begins. ``is_fresh``: it has learned no class yet.
    """

    name: str
    title: str
    base_model: str
    network: UniversalModel
    channels: Channels
    facts: ModelFacts
    licence: Licence | None
    rival: ResolvedModel
    rival_labels: tuple[str, ...]
    is_fresh: bool = False

    def note(self) -> str:
        """What the person must know of anything that is learned from it."""
        return derived_note(self.title, self.licence, self.name)


def open_base(name: str, models: ModelStore, rival: str = CURRENT) -> Base:
    """A model of the catalogue, a version, "current" or a file, to learn further; a version of one's own structures
    alone, too.

    Raises:
        ModelError: there is no such model, it is damaged, or not a universal model.
    """
    from ..networks.universal import UniversalModel
    from ..open_model import load_network

    versions = models.versions
    model = models.resolve(name)
    network = load_network(model)
    if not isinstance(network, UniversalModel):
        raise ModelError(
            _("{title} has no head that new classes can be added to.").format(title=model.title),
            _("Start from {model}, a Universal Model, a version, or --from-genesis.").format(model=STARTER),
        )
    root = versions[model.name].base_model if versions and model.name in versions else model.name
    rival_model = models.resolve(rival)
    return Base(
        name=model.name,
        title=models.catalogue[root].title if root in models.catalogue else model.title,
        base_model=root,
        network=network,
        channels=Channels(labels_of(model, models)),
        facts=model.facts,
        licence=model.licence,
        rival=rival_model,
        rival_labels=labels_of(rival_model, models),
    )


def genesis_base(models: ModelStore, weights: Path | None = None, seed: int = 0, rival: str = CURRENT) -> Base:
    """A fresh network whose backbone has Genesis-style weights: those of ``weights``, else the published ones where
    they are installed, else one's own in the folder of the models.

    Raises:
        ModelError: there are none of these, or the file holds something else.
    """
    import torch

    from ..checkpoints import initialise_from_genesis
    from ..networks import build

    checkpoint, licence, name = _genesis_weights(models, weights)
    target = _TARGETS.get(checkpoint.architecture)
    if target is None:
        raise ModelError(
            _("{path} holds no Genesis-style weights.").format(path=checkpoint.path),
            _("Give what genesis-segment pretrain wrote."),
        )
    entry = models.catalogue[target]
    options = dict(entry.facts.options) | {"embedding": "random", "classes": len(entry.facts.classes)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = cast("UniversalModel", build(entry.facts.architecture, **options))
    initialise_from_genesis(network, checkpoint)
    rival_model = models.resolve(rival)
    return Base(
        name=name,
        title="Models Genesis" if licence else "Genesis-style weights of your own",
        base_model=name,
        network=network.eval(),
        channels=Channels.of_classes(entry.facts.classes),
        facts=replace(entry.facts, options=options, offered=()),
        licence=licence,
        rival=rival_model,
        rival_labels=labels_of(rival_model, models),
        is_fresh=True,
    )


def labels_of(model: ResolvedModel, models: ModelStore) -> tuple[str, ...]:
    """The names of a model's channels: a version knows its own, those of any other are classes of the table."""
    if models.versions and model.name in models.versions:
        return models.versions[model.name].labels
    return Channels.of_classes(model.facts.classes).labels


def derived_note(title: str, licence: Licence | None, name: str) -> str:
    """What must be said of a model that was learned from another one with this licence."""
    if name == OWN_GENESIS:
        return _(
            "Learned from Genesis-style weights of your own; they carry the terms of the CTs that they were made from."
        )
    if licence is None:
        return _("Adapted from {title}, whose licence is not known: do not distribute.").format(title=title)
    if licence.redistribution:
        return _("Adapted from {title} ({licence}).").format(title=title, licence=licence.name)
    return _("Adapted from {title} ({licence}, {holder}): do not distribute.").format(
        title=title, licence=licence.name, holder=licence.holder
    )


def offered_after(base: Base, learned: Sequence[str]) -> tuple[int, ...]:
    """The class indices that a model offers after it has learned the classes ``learned``: those it did before, too."""
    from ...core.classes import class_table

    new = {c.index for c in class_table().values() if c.slug in learned} & set(base.facts.classes)
    return tuple(sorted({*base.facts.offered, *new}))


def _genesis_weights(models: ModelStore, given: Path | None) -> tuple[Checkpoint, Licence | None, str]:
    from ..checkpoints import load

    if given is not None:
        return load(given), None, OWN_GENESIS
    entry = models.catalogue[PUBLISHED_GENESIS]
    if models.status(PUBLISHED_GENESIS) == "installed":
        return load(models.path_of(PUBLISHED_GENESIS)), entry.licence, PUBLISHED_GENESIS
    own = models.folder / OWN_GENESIS
    if own.is_file():
        return load(own), None, OWN_GENESIS
    raise ModelError(
        _("There are no Models Genesis weights on this machine."),
        _(
            "Run: genesis-segment models download {model} (research only; it shows the licence), "
            'or make your own: genesis-segment pretrain FOLDER_WITH_CTS --budget 2h -o "{own}"'
        ).format(model=PUBLISHED_GENESIS, own=own),
    )
