"""The panel at the width that Slicer gives it: nothing overlaps, nothing is cut off, nothing is wider."""

from __future__ import annotations

from contextlib import suppress

import pytest

from GenesisSegmentLib.core.workflow.states import State
from panel_builders import a_view, learn_part

WIDTH = 400
PARTS = ("setup", "segment", "correct", "learn", "export")


@pytest.fixture
def shown(slicer_bench, make_panel):
    """Shows a view in a scroll area as low as Slicer's may be; returns the panel's widget."""
    qt, panel = slicer_bench.qt, make_panel()
    area = qt.QScrollArea()
    area.setWidgetResizable(True)
    area.setVerticalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    area.setFrameShape(qt.QFrame.NoFrame)
    area.resize(WIDTH, 300)
    area.setWidget(panel.root)
    area.show()

    def show(view, unfolded):
        for part in PARTS:
            getattr(panel.ui, f"{part}CollapsibleButton").collapsed = part not in unfolded
        panel.show(view)
        return panel.root

    yield show
    area.takeWidget()
    area.delete()


def visible_children(qt, widget):
    return [child for child in widget.children() if isinstance(child, qt.QWidget) and child.visible]


def least(widget):
    """A Qt property, or the method of a stand-in."""
    hint = widget.minimumSizeHint
    return hint() if callable(hint) else hint


def named(qt, widget):
    """All visible widgets of the .ui file."""
    for child in visible_children(qt, widget):
        yield child
        # The inside of a widget is its own affair.
        if child.layout() is not None and not child.inherits("qMRMLWidget"):
            yield from named(qt, child)


def faults(qt, root):
    """What is covered or cut off, in words."""
    found = []
    for parent in (root, *named(qt, root)):
        children = visible_children(qt, parent) if parent.layout() is not None else []
        for i, one in enumerate(children):
            found += [
                f"{one.objectName} covers {other.objectName}"
                for other in children[i + 1 :]
                if one.geometry.intersects(other.geometry)
            ]
            needed = one.heightForWidth(one.width) if one.hasHeightForWidth() else least(one).height()
            if one.height < needed:
                found.append(f"{one.objectName} has {one.height} of {needed} pixels")
    return found


@pytest.mark.parametrize("unfolded", [PARTS, ("segment",)])
@pytest.mark.parametrize("state", list(State))
def test_nothing_overlaps_and_nothing_is_cut_off(shown, slicer_bench, state, unfolded):
    qt = slicer_bench.qt
    root = shown(a_view(state, learn=learn_part()), unfolded)
    # Layouts settle over several rounds of the event loop.
    with suppress(AssertionError):
        slicer_bench.wait_until(lambda: not faults(qt, root), 2)
    assert root.width <= WIDTH
    assert faults(qt, root) == []
