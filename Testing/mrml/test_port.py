"""The scene is what the controller's port says, method by method."""

from __future__ import annotations

import inspect

import pytest

from GenesisSegmentLib.core.workflow.ports import ScenePort
from GenesisSegmentLib.mrml.scene import Scene

METHODS = [name for name, member in vars(ScenePort).items() if inspect.isfunction(member) and name[0] != "_"]


@pytest.mark.parametrize("name", METHODS)
def test_method_of_the_port_is_there_with_the_same_parameters(name):
    promised, real = (inspect.signature(getattr(owner, name)) for owner in (ScenePort, Scene))
    assert list(real.parameters) == list(promised.parameters)
    assert real.return_annotation == promised.return_annotation


def test_port_has_methods():
    assert len(METHODS) > 15
