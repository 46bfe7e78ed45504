"""GenesisSegment: CT segmentation that learns from corrections, on one workstation."""

import os

__version__ = "0.1.0"

# Nothing leaves the machine: from 1.29 on, ONNX Runtime reports its use to its maker unless it finds this when it is
# imported (microsoft/onnxruntime pull request 27379).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
