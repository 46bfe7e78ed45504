"""Correcting a segment with prompts, without Slicer: set a CT and a proposal, give prompts, get a mask.

::

    from GenesisSegmentLib.core.prompts import Prompt
    from GenesisSegmentLib.engine.refine.clicks import open_clicks
    from GenesisSegmentLib.engine.refine.session import Session

    session = Session(volume, proposal, protected, open_clicks())  # Volume; bool (i, j, k); bool (i, j, k) or None
    session.preview(Prompt("point", ((120, 96, 40),)))  # Change(box, mask): local, nothing is kept
    session.answer(Prompt("scribble", path, False))     # Change(box, mask): from the click network, kept
    session.propagate(6, features)                      # Change(box, mask): the head of class 6 learns, kept
    session.undo()
    session.mask                                        # bool (i, j, k)

Stages: :mod:`.regions` chooses the voxels to compute on, :mod:`.local` previews with geodesic distances
(:mod:`.geodesic`), :mod:`.answering` asks the click network, :mod:`.settle` makes the result agree with every prompt.
:mod:`.propagate` has the model learn from them, on what it saw in the CT (:mod:`.features`).
"""
