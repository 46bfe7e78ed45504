"""Networks on devices: torch and ONNX Runtime give the same logits, stop when asked, and say which device they use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from GenesisSegmentLib.core.errors import Cancelled, ModelError, ResourceError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.inference import runtimes
from GenesisSegmentLib.engine.inference.paths import stages_to_fold
from GenesisSegmentLib.engine.inference.runtimes import OnnxRuntime, TorchRuntime, fall_back_notes
from GenesisSegmentLib.engine.networks import build
from GenesisSegmentLib.engine.networks.universal import apply_head

WINDOW = (8, 6, 5)
CLASSES = 4


class OneLayer(nn.Module):
    """A network small enough to be written down as ONNX by hand: one layer, then the universal head."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.features = nn.Conv3d(1, 8, 1)
        self.register_buffer("numbers", torch.from_numpy(rng.normal(0, 1, (1, CLASSES, 153)).astype(np.float32)))

    def forward(self, image, channels):
        return apply_head(self.features(image), self.numbers[:, list(channels)])


def write_onnx(path: Path, network: OneLayer) -> Path:
    weights = {
        "weight": network.features.weight.detach().numpy(),
        "bias": network.features.bias.detach().numpy(),
        "constant": network.numbers.numpy(),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weight", "bias"], ["features"], kernel_shape=[1, 1, 1]),
            helper.make_node("Identity", ["constant"], ["numbers"]),
        ],
        "stand-in",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, None, None, None])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 8, None, None, None]),
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [1, CLASSES, 153]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def network() -> OneLayer:
    torch.manual_seed(0)
    return OneLayer()


@pytest.fixture(scope="module")
def onnx_file(network, tmp_path_factory) -> Path:
    return write_onnx(tmp_path_factory.mktemp("onnx") / "stand_in.onnx", network)


@pytest.fixture
def window() -> np.ndarray:
    return np.random.default_rng(1).random((20, 20, 20), dtype=np.float32)[2:10, 3:9, 5:10]  # a view, not contiguous


@pytest.mark.parametrize("channels", [(0, 1, 2, 3), (3,), (2, 0)])
def test_both_runtimes_give_the_network_s_logits(network, onnx_file, window, channels) -> None:
    with torch.no_grad():
        expected = network(torch.from_numpy(window.copy())[None, None], channels)[0].numpy()
    for runtime in (TorchRuntime(network, "cpu", Job()), OnnxRuntime(onnx_file, "cpu", Job())):
        logits = runtime.to_numpy(runtime.logits(window, channels))
        assert logits.dtype == np.float32
        assert logits.shape == (len(channels), *WINDOW)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
        assert runtime.device == runtime.ring_device == "cpu"
        assert runtime.notes == ()


def test_accumulators_have_the_asked_precision(network, onnx_file) -> None:
    for runtime in (TorchRuntime(network, "cpu", Job()), OnnxRuntime(onnx_file, "cpu", Job())):
        for half, name in ((True, "float16"), (False, "float32")):
            zeros = runtime.zeros((2, 3), half)
            assert name in str(zeros.dtype)
            assert runtime.to_numpy(zeros).dtype == np.float32
        values = np.arange(3, dtype=np.float32)
        np.testing.assert_array_equal(runtime.to_numpy(runtime.to_array(values)), values)


def test_a_torch_run_is_cancelled_between_two_layers() -> None:
    job, ran = Job(), []

    class Layer(nn.Module):
        def forward(self, x):
            ran.append(len(ran))
            if len(ran) == 2:
                job.cancel()
            return x

    class ThreeLayers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(Layer(), Layer(), Layer())

        def forward(self, image, channels):
            return self.layers(image)

    with pytest.raises(Cancelled):
        TorchRuntime(ThreeLayers(), "cpu", job).logits(np.zeros(WINDOW, np.float32), (0,))
    assert ran == [0, 1]


def test_an_onnx_run_is_cancelled(onnx_file, window) -> None:
    job = Job()
    runtime = OnnxRuntime(onnx_file, "cpu", job)
    runtime.logits(window, (0,))
    job.cancel()
    with pytest.raises(Cancelled):
        runtime.logits(window, (0,))


def test_cancelling_ends_an_onnx_run_that_has_begun(onnx_file, window, monkeypatch) -> None:
    """The session itself is told to stop: a run that starts without looking at the job still ends as cancelled."""
    monkeypatch.setattr(runtimes, "apply_head", lambda *arguments: pytest.fail("the session ran to its end"))
    job = Job()
    runtime = OnnxRuntime(onnx_file, "cpu", job)
    checks = []
    job.check, look = lambda: checks.append(1) or (look() if len(checks) > 1 else None), job.check
    job.cancel()
    with pytest.raises(Cancelled):
        runtime.logits(window, (0,))
    assert len(checks) == 2  # before the session, and after it was terminated


def test_torch_advances_layer_by_layer(small_network) -> None:
    runtime, told = TorchRuntime(small_network, "cpu", Job()), []
    image = np.zeros((16, 16, 16), np.float32)
    for _ in range(2):
        told.clear()
        runtime.logits(image, (0, 1), told.append)
        assert len(set(told)) > 10
        assert told == sorted(told)
        assert told[0] == 0.0
        assert 0.8 < told[-1] <= 1.0
    told.clear()
    runtime.logits(image, (0, 1))
    assert told == []  # who listened to one window hears nothing of the next


class SlowSession:
    """A session that takes half a second for 27000 voxels, and notes what it is given."""

    def __init__(self, seconds_per_voxel: float) -> None:
        self.pace, self.sizes = seconds_per_voxel, []

    def run(self, names, feed, options):
        image = feed["image"]
        self.sizes.append(image.size)
        time.sleep(self.pace * image.size)
        return [np.zeros((1, 8, *image.shape[2:]), np.float32), np.zeros((1, CLASSES, 153), np.float32)]

    def get_inputs(self):
        return [SimpleNamespace(shape=[1, 1, "x", "y", "z"])]


@pytest.fixture
def slow(onnx_file, monkeypatch):
    def slow(pace: float) -> tuple[OnnxRuntime, SlowSession]:
        runtime, session = OnnxRuntime(onnx_file, "cpu", Job()), SlowSession(pace)
        monkeypatch.setattr(runtime, "_session", session)
        return runtime, session

    monkeypatch.setattr(runtimes, "_TICK_S", 0.02)
    monkeypatch.setattr(runtimes, "_TRIAL_SIDE", 8)
    monkeypatch.setattr(runtimes, "_LARGE", 20 * 8**3)
    return slow


def test_folded_network_tells_its_progress_and_can_be_cancelled_before_its_largest_convolutions() -> None:
    network, job = build("universal_unet").eval(), Job()
    runtime = TorchRuntime(network, "cpu", job, lambda network, advance: frozenset({"folded"}))
    runtime.prepare(False, lambda share: None)
    told: list[float] = []
    image = np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)
    for _ in range(2):
        told.clear()
        runtime.logits(image, (0,), told.append)
    assert told[-1] > 0.95
    entered = []
    for stage in stages_to_fold(network):
        stage.folded.register_forward_pre_hook(lambda *_: entered.append(len(told)))
    told.clear()
    runtime.logits(image, (0,), told.append)
    before = [told[count - 1] for count in entered]
    assert len(set(before)) == 3, "a look at the job comes right before each of them"
    job.cancel()
    with pytest.raises(Cancelled):
        runtime.logits(image, (0,))


def test_onnx_advances_by_the_pace_of_a_trial_and_then_truly_in_the_head(slow) -> None:
    runtime, session = slow(2e-5)
    told: list[float] = []
    runtime.logits(np.zeros((30, 30, 30), np.float32), (0,), told.append)
    assert session.sizes == [8**3, 30**3]
    network = [share for share in told if share < 0.9]
    assert len(set(network)) >= 3
    assert told == sorted(told)
    assert 0.9 <= told[-1] < 1.0  # the head
    told.clear()
    runtime.logits(np.zeros((30, 30, 30), np.float32), (0,), told.append)
    assert session.sizes == [8**3, 30**3, 30**3]  # one trial is enough
    assert len(set(told)) >= 3


def test_an_estimate_that_was_too_short_waits_at_nine_tenths(slow) -> None:
    runtime, session = slow(1e-7)
    runtime.logits(np.zeros((30, 30, 30), np.float32), (0,))
    session.pace, runtime._pace = 1e-5, 1e-7  # what is measured on a busy machine may be longer
    told: list[float] = []
    runtime.logits(np.zeros((30, 30, 30), np.float32), (0,), told.append)
    assert told == sorted(told)
    assert told[0] == told[3] == pytest.approx(0.9)
    assert max(told) < 1.0


def test_a_model_of_one_size_is_not_tried_on_another(slow, monkeypatch) -> None:
    runtime, session = slow(0.0)
    monkeypatch.setattr(session, "get_inputs", lambda: [SimpleNamespace(shape=[1, 1, 30, 30, 30])])
    runtime.logits(np.zeros((30, 30, 30), np.float32), (0,))
    assert session.sizes == [30**3]


def test_a_listener_that_raises_ends_the_session(slow) -> None:
    runtime, _ = slow(1e-5)
    runtime.logits(np.zeros((30, 30, 30), np.float32), (0,))

    def stop(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        runtime.logits(np.zeros((30, 30, 30), np.float32), (0,), stop)
    assert runtime._run_options.terminate


def test_a_file_that_is_no_network_is_refused(tmp_path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(ModelError, match=r"broken\.onnx is not a model that ONNX Runtime can load"):
        OnnxRuntime(path, "cpu", Job())


def test_an_onnx_runtime_without_gpu_support_says_so(onnx_file, monkeypatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ResourceError, match="no GPU support"):
        OnnxRuntime(onnx_file, "cuda:0", Job())


class DroppedProvider:
    """A session that was given CUDA and runs on the CPU, as ONNX Runtime does where cuDNN is missing."""

    def __init__(self, path: str, options: object, providers: list[str]) -> None:
        assert providers[0] == "CUDAExecutionProvider"

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


@pytest.fixture
def no_cudnn(monkeypatch) -> None:
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "InferenceSession", DroppedProvider)


@pytest.mark.usefixtures("no_cudnn")
def test_a_gpu_that_onnx_runtime_dropped_silently_is_told(onnx_file) -> None:
    runtime = OnnxRuntime(onnx_file, "cuda:0", Job())
    assert runtime.device == "cpu"
    assert len(runtime.notes) == 1
    assert "fell back to the CPU" in runtime.notes[0]


@pytest.mark.usefixtures("no_cudnn")
def test_a_gpu_that_was_asked_for_and_dropped_is_an_error(onnx_file) -> None:
    with pytest.raises(ResourceError, match="fell back to the CPU"):
        OnnxRuntime(onnx_file, "cuda:0", Job(), is_required=True)


def test_no_note_when_the_wanted_provider_came() -> None:
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    assert fall_back_notes("cuda:0", [cuda, cpu], [cuda, cpu]) == ()
    assert fall_back_notes("cpu", [cpu], [cpu]) == ()


def test_a_network_that_always_gives_all_classes_runs_too() -> None:
    """SuPreM's SegResNet has a channel per class, and no way to leave some out."""
    torch.manual_seed(0)
    network = nn.Conv3d(1, 5, 1)
    image = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)
    runtime = TorchRuntime(network, "cpu", Job())
    with torch.no_grad():
        expected = network(torch.from_numpy(image)[None, None])[0, [4, 1]].numpy()
    np.testing.assert_array_equal(runtime.to_numpy(runtime.logits(image, (4, 1))), expected)


@pytest.fixture(scope="module")
def small_network() -> nn.Module:
    torch.manual_seed(0)
    return build("starter", classes=5, filters=16, blocks_down=(1, 1)).eval()


def test_fast_paths_are_used_and_set_aside(small_network) -> None:
    image = np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)
    with torch.no_grad():
        expected = small_network(torch.from_numpy(image)[None, None])[0].numpy()
    asked: list[nn.Module] = []

    def find_paths(network, advance) -> frozenset[str]:
        asked.append(network)
        advance(0.5)
        return frozenset({"channels_last", "bf16"})

    runtime, told = TorchRuntime(small_network, "cpu", Job(), find_paths), []
    runtime.prepare(True, told.append)
    np.testing.assert_array_equal(runtime.to_numpy(runtime.logits(image, tuple(range(5)))), expected)
    assert (asked, told) == ([], [])  # a plain run tries nothing
    runtime.prepare(False, told.append)
    assert (asked, told) == ([small_network], [0.5])
    fast = runtime.to_numpy(runtime.logits(image, tuple(range(5))))
    assert 0 < np.abs(fast - expected).max() < 0.1 * np.abs(expected).max()  # bfloat16 at work
    layouts = {w.is_contiguous() for w in small_network.parameters() if w.dim() == 5 and min(w.shape[:3]) > 1}
    assert layouts == {False}
    runtime.prepare(True, told.append)
    np.testing.assert_array_equal(runtime.to_numpy(runtime.logits(image, tuple(range(5)))), expected)
    assert all(w.is_contiguous() for w in small_network.parameters())
    runtime.prepare(False, told.append)
    assert len(asked) == 1  # once
    np.testing.assert_array_equal(runtime.to_numpy(runtime.logits(image, tuple(range(5)))), fast)


def test_without_paths_the_network_runs_as_it_is(small_network) -> None:
    image = np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)
    with torch.no_grad():
        expected = small_network(torch.from_numpy(image)[None, None], (3, 1))[0].numpy()
    runtime = TorchRuntime(small_network, "cpu", Job())
    np.testing.assert_array_equal(runtime.to_numpy(runtime.logits(image, (3, 1))), expected)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["monai"] = None  # any import of them fails
from pathlib import Path
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.inference.runtimes import OnnxRuntime
from GenesisSegmentLib.engine.inference.segmenter import Segmenter
from GenesisSegmentLib.engine.inference.spec import RunOptions
from GenesisSegmentLib.engine.phantom import phantom_ct
from inference_builders import COARSE, FreeMemory

job = Job()
segmenter = Segmenter(COARSE, lambda device: OnnxRuntime(Path(sys.argv[1]), device, job), "cpu", FreeMemory(), job)
volume = phantom_ct(12.0)
result = segmenter.segment(volume, RunOptions(classes=(1, 2)))
assert result.segmentation.bits.shape == volume.voxels.shape
"""


def test_an_onnx_model_segments_without_torch(onnx_file) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(onnx_file)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
