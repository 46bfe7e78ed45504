"""Synthetic tumours: label-free lesions by the rules of Hu et al., CVPR 2023, drawn into real CTs without lesions.

:mod:`.drawing` draws every number of a case, :mod:`.blending` makes lesion and CT of them, :mod:`.planting` does both
on a CT of any spacing, :mod:`.case` on a CT with its labels and files, :mod:`.transform` on the fly in training.
"""
