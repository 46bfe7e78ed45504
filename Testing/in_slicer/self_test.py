"""Runs the self-test inside 3D Slicer and ends it with an exit code. **Not yet run**: written without the application.

    Slicer --testing --no-main-window --additional-module-paths GenesisSegment \\
        --python-script Testing/in_slicer/self_test.py

``ctest`` runs it too. What needs the packages of the engine is skipped with a reason where they are not installed:
while Slicer is being tested, nothing is installed.
"""

from __future__ import annotations

import traceback
import unittest

import slicer

try:
    import GenesisSegment

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(GenesisSegment.GenesisSegmentTest)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    code = 0 if result.wasSuccessful() else 1
except ImportError:
    traceback.print_exc()
    code = 1
slicer.util.exit(code)
