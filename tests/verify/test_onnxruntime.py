"""Files that are the network: run as they are, on the provider asked for or none, with errors that say what is wrong.

Networks of ours run in ONNX Runtime too, written as such files.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mshub_convert as mc
from mshub_convert.converters.errors import EnvironmentError_
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.traits import Traits
from mshub_convert.verify.errors import LoadError, MissingPackageError, RuntimeRefusedError
from mshub_convert.verify.inputs import pictures
from mshub_convert.verify.runtimes import FileNetwork, GraphNetwork, Job, LibraryNetwork, Outcome, Weights, run

TIMEOUT = 300.0
NETWORK = ResNet((1, 2), cardinality=4, base_width=4, classes=10)
AS_IT_IS = FileNetwork()
GRAPH = GraphNetwork(NETWORK, "timm", Traits())
Edit = Callable[[Any], None]


def distance(values: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    return float((np.linalg.norm(values - reference, axis=1) / np.linalg.norm(reference, axis=1)).max())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the drawn weights, the .onnx made of them, and two batches of pictures."""
    path = tmp_path_factory.mktemp("onnx")
    calibrated.write(NETWORK, "timm", 0, path / "w.safetensors")
    mc.convert(path / "w.safetensors", to="onnx", out=path / "w.onnx")
    np.save(path / "even.npy", pictures(4, 64, 64))
    np.save(path / "odd.npy", pictures(2, 57, 71))
    return path


@pytest.fixture
def job(folder: Path, tmp_path: Path) -> Callable[..., Job]:
    """Makes a job; the file and its own network unless others are given."""

    def make(file: Path | None = None, *, network: Any = AS_IT_IS, runtime: str = "onnxruntime", **options: Any) -> Job:
        file = file or folder / "w.onnx"
        inputs = options.pop("inputs", ("even.npy", "odd.npy"))
        container = options.pop("container", file.suffix[1:])
        paths = tuple(folder / name for name in inputs)
        return Job(runtime, network, Weights(file, container), paths, tmp_path / "out", **options)

    return make


@pytest.fixture(scope="module")
def exact(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The same weights in torch, in float64."""
    paths = (folder / "even.npy", folder / "odd.npy")
    weights = Weights(folder / "w.safetensors", "safetensors")
    return run(Job("torch", GRAPH, weights, paths, tmp_path_factory.mktemp("exact"), "float64"), timeout=TIMEOUT)


@pytest.fixture
def edited(folder: Path, tmp_path: Path) -> Callable[[Edit], Path]:
    """Makes a file that is the .onnx but for an edit of its model."""
    import onnx

    def make(edit: Edit) -> Path:
        model = onnx.load(str(folder / "w.onnx"))
        edit(model)
        onnx.save(model, str(tmp_path / "edited.onnx"))
        return tmp_path / "edited.onnx"

    return make


def fix_input(*shape: int) -> Edit:
    def edit(model: Any) -> None:
        for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
            dim.dim_value = size
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = shape[0]

    return edit


def add_softmax(model: Any) -> None:
    from onnx import helper

    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["probabilities"]))
    model.graph.output[0].name = "probabilities"


def take_half_inputs(model: Any) -> None:
    """The graph without casts at its ends, all of it in float16."""
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for port in (model.graph.input[0], model.graph.output[0]):
        port.type.tensor_type.elem_type = TensorProto.FLOAT16


# What needs no framework


def test_jobs_of_files_survive_json(tmp_path: Path) -> None:
    made = Job(
        "onnxruntime", FileNetwork({"head": "logits"}, {"stem.norm": "conv1"}, "basic"),
        Weights(tmp_path / "w.onnx", "onnx", norm_eps=1e-3), (tmp_path / "a.npy",), tmp_path, batch=3,
    )  # fmt: skip
    assert Job.from_dict(json.loads(json.dumps(made.as_dict()))) == made


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a module of this name and code before the real one in the worker."""

    def make(name: str, code: str) -> None:
        at = tmp_path / "fake"
        at.mkdir(exist_ok=True)
        (at / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(at))

    return make


FELL_BACK = """
__version__ = "0"
class SessionOptions:
    def add_session_config_entry(self, key, value): pass
class GraphOptimizationLevel:
    ORT_ENABLE_ALL = 99
class InferenceSession:
    def __init__(self, model, options, *, providers, enable_fallback): pass
    def get_providers(self): return ["CPUExecutionProvider"]
def get_available_providers(): return ["CANNExecutionProvider", "CPUExecutionProvider"]
"""


def test_a_provider_that_fell_back_to_the_cpu_is_no_pass(job: Callable[..., Job], fake: Callable[..., None]) -> None:
    """As onnxruntime-cann does without CANN: it lists the provider, and computes on the CPU."""
    fake("onnxruntime", FELL_BACK)
    with pytest.raises(EnvironmentError_, match="CANNExecutionProvider could not be started; there is CPU") as caught:
        run(job(device="cann"), timeout=TIMEOUT)
    assert caught.value.exit_code == 5


def test_a_missing_onnxruntime_names_the_extra(job: Callable[..., Job], fake: Callable[..., None]) -> None:
    fake("onnxruntime", "raise ModuleNotFoundError('no', name='onnxruntime')")
    with pytest.raises(MissingPackageError, match="needs onnxruntime, which is not installed") as caught:
        run(job(), timeout=TIMEOUT)
    assert (caught.value.exit_code, caught.value.remedy) == (5, "pip install 'mshub-convert[onnx]'")


def test_an_onnxruntime_that_cannot_be_imported_names_the_extra_too(
    job: Callable[..., Job], fake: Callable[..., None]
) -> None:
    fake("onnxruntime", "raise ImportError('built for another numpy')")
    with pytest.raises(MissingPackageError, match="cannot be imported: built for another numpy") as caught:
        run(job(), timeout=TIMEOUT)
    assert (caught.value.exit_code, caught.value.remedy) == (5, "pip install 'mshub-convert[onnx]'")


# Providers


@pytest.mark.slow
@pytest.mark.parametrize(("device", "provider"), [("cuda", "CUDAExecutionProvider"), ("cann", "CANNExecutionProvider")])
@pytest.mark.parametrize("rebuilt", [False, True])
def test_a_provider_that_is_not_there_is_an_error(
    device: str, provider: str, rebuilt: bool, job: Callable[..., Job], folder: Path
) -> None:
    import onnxruntime

    if provider in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {provider}")
    made = job(folder / "w.safetensors", network=GRAPH, device=device) if rebuilt else job(device=device)
    with pytest.raises(EnvironmentError_, match=f"{provider} is not in this build") as caught:
        run(made, timeout=TIMEOUT)
    assert caught.value.exit_code == 5
    assert provider in caught.value.remedy


@pytest.mark.slow
def test_a_device_that_no_provider_is_for(job: Callable[..., Job]) -> None:
    with pytest.raises(RuntimeRefusedError, match="runs on the cpu, cuda or cann, not on 'npu'"):
        run(job(device="npu"), timeout=TIMEOUT)


# Files as they are


@pytest.mark.slow
@pytest.mark.parametrize("optimization", ["disable", "basic", "extended", "all"])
def test_a_file_runs_at_every_optimization_level(optimization: str, job: Callable[..., Job], exact: Outcome) -> None:
    outcome = run(job(network=FileNetwork(optimization=optimization)), timeout=TIMEOUT)
    assert [values.dtype for values in outcome.logits] == [np.float32, np.float32]
    for values, reference in zip(outcome.logits, exact.logits, strict=True):
        assert 0 < distance(values, reference) < 1e-5
    assert set(outcome.versions) == {"python", "numpy", "onnxruntime"}


@pytest.mark.slow
def test_the_onnx_package_reads_what_we_wrote(job: Callable[..., Job], folder: Path) -> None:
    outcome = run(job(), timeout=TIMEOUT)
    ours = {name: ref.read() for name, ref in mc_tensors(folder / "w.safetensors").items() if ref.spec.shape}
    assert outcome.loader == "onnx.load"
    assert outcome.hashes == {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in ours.items()}


def mc_tensors(file: Path) -> dict[str, Any]:
    from mshub_convert.converters.codecs import open_checkpoint

    return dict(open_checkpoint(file).tensors)


@pytest.mark.slow
def test_without_the_onnx_package_there_is_no_second_reader(job: Callable[..., Job], fake: Callable[..., None]) -> None:
    fake("onnx", "raise ImportError('no onnx here')")
    outcome = run(job(), timeout=TIMEOUT)
    assert (outcome.loader, outcome.hashes) == ("onnxruntime.InferenceSession", {})
    with pytest.raises(MissingPackageError, match=r"features of .* is no output; looking at it needs onnx"):
        run(job(network=FileNetwork({"head": "features"})), timeout=TIMEOUT)


@pytest.mark.slow
@pytest.mark.parametrize("external", [False, True])
def test_logits_are_looked_at_before_a_softmax(
    external: bool, job: Callable[..., Job], edited: Callable[[Edit], Path], exact: Outcome
) -> None:
    file = edited(add_softmax)
    if external:
        import onnx

        options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
        onnx.save(onnx.load(str(file)), str(file), **options)
        assert (file.parent / "weights.bin").stat().st_size > 10 * file.stat().st_size
    probabilities = run(job(file), timeout=TIMEOUT)
    assert np.allclose(probabilities.logits[0].sum(1), 1)
    logits = run(job(file, network=FileNetwork({"head": "logits"})), timeout=TIMEOUT)
    assert distance(logits.logits[0], exact.logits[0]) < 1e-5
    with pytest.raises(LoadError, match="has no value 'features'"):
        run(job(file, network=FileNetwork({"head": "features"})), timeout=TIMEOUT)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, 4])
def test_a_fixed_batch_is_run_in_parts_and_filled_up(
    batch: int, job: Callable[..., Job], edited: Callable[[Edit], Path], exact: Outcome
) -> None:
    file = edited(fix_input(batch, 3, 64, 64))
    outcome = run(job(file, inputs=("even.npy",), batch=batch), timeout=TIMEOUT)
    assert outcome.logits[0].shape == (4, 10)
    assert distance(outcome.logits[0], exact.logits[0]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "batch", "said"),
    [("even.npy", 4, "takes 2x3x64x64 only, not 4x3x64x64"), ("odd.npy", 2, "takes 2x3x64x64 only, not 2x3x57x71")],
)
def test_pictures_that_a_file_does_not_take(
    name: str, batch: int, said: str, job: Callable[..., Job], edited: Callable[[Edit], Path]
) -> None:
    with pytest.raises(RuntimeRefusedError, match=said):
        run(job(edited(fix_input(2, 3, 64, 64)), inputs=(name,), batch=batch), timeout=TIMEOUT)


@pytest.mark.slow
def test_half_precision_at_the_ends_is_cast(
    job: Callable[..., Job], edited: Callable[[Edit], Path], exact: Outcome
) -> None:
    outcome = run(job(edited(take_half_inputs)), timeout=TIMEOUT)
    assert outcome.logits[0].dtype == np.float32
    assert 1e-6 < distance(outcome.logits[0], exact.logits[0]) < 1e-2
    assert set(outcome.dtypes.values()) == {"float16"}


def break_an_edge(model: Any) -> None:
    model.graph.node[3].input[0] = "nowhere"


def ask_for_a_later_opset(model: Any) -> None:
    model.opset_import[0].version = 999


def use_an_unknown_operator(model: Any) -> None:
    model.graph.node[2].op_type, model.graph.node[2].domain = "Frobnicate", "com.example"
    model.opset_import.add(domain="com.example", version=1)


def take_two_inputs(model: Any) -> None:
    other = model.graph.input.add()
    other.CopyFrom(model.graph.input[0])
    other.name = "mask"


def take_bytes(model: Any) -> None:
    from onnx import TensorProto, helper

    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    first = model.graph.node[0]
    first.input[0] = "as_float"
    model.graph.node.insert(0, helper.make_node("Cast", ["input"], ["as_float"], to=TensorProto.FLOAT))


def give_two_outputs(model: Any) -> None:
    import onnx

    model.graph.output.append(onnx.ValueInfoProto(name=model.graph.node[3].output[0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "kind", "said"),
    [
        (break_an_edge, LoadError, "is not valid for ONNX Runtime: .*nowhere"),
        (ask_for_a_later_opset, RuntimeRefusedError, "ONNX Runtime refuses: .*999"),
        (use_an_unknown_operator, RuntimeRefusedError, "ONNX Runtime refuses: .*Frobnicate"),
        (take_two_inputs, RuntimeRefusedError, "takes input, mask, not one batch of pictures"),
        (take_bytes, RuntimeRefusedError, r"takes input, tensor\(uint8\) of .*, not pictures"),
        (give_two_outputs, RuntimeRefusedError, "has the outputs logits, .*: which one has the logits"),
    ],
)
def test_files_that_onnx_runtime_does_not_run(
    edit: Edit, kind: type[Exception], said: str, job: Callable[..., Job], edited: Callable[[Edit], Path]
) -> None:
    with pytest.raises(kind, match=said):
        run(job(edited(edit)), timeout=TIMEOUT)


@pytest.mark.slow
def test_a_file_that_is_no_model(job: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(b"no model")
    with pytest.raises(LoadError, match=r"w\.onnx is not valid for ONNX Runtime: .*Protobuf parsing failed"):
        run(job(tmp_path / "w.onnx"), timeout=TIMEOUT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"watch": "stages"}, "does not tell its stages"),
        ({"precision": "float64"}, "has no float64"),
        ({"network": FileNetwork(optimization="most")}, "no optimization level 'most'"),
        ({"container": "ckpt"}, "cannot run .* itself"),
        ({"runtime": "torch"}, "torch cannot run .* itself"),
        ({"runtime": "mindspore"}, "MindSpore cannot run .* itself"),
        ({"network": LibraryNetwork("timm", "resnet50")}, "no networks of a library"),
        ({"network": GRAPH, "precision": "float64"}, "has no float64"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, Any], said: str, job: Callable[..., Job]) -> None:
    with pytest.raises(RuntimeRefusedError, match=said):
        run(job(**options), timeout=TIMEOUT)


# Networks of ours, written for ONNX Runtime


@pytest.mark.slow
@pytest.mark.parametrize(("to", "naming"), [("pth", "timm"), ("ckpt:mindcv", "mindcv"), ("ckpt:modelzoo", "modelzoo")])
def test_weights_of_any_container_run_in_our_network(
    to: str, naming: str, job: Callable[..., Job], folder: Path, tmp_path: Path, exact: Outcome
) -> None:
    file = mc.convert(folder / "w.safetensors", to=to, out=tmp_path / f"w.{to.partition(':')[0]}").path
    outcome = run(job(file, network=replace(GRAPH, dialect=naming)), timeout=TIMEOUT)
    assert outcome.loader.startswith("mshub-convert's own reader (ONNX Runtime loads no")
    for values, reference in zip(outcome.logits, exact.logits, strict=True):
        assert 0 < distance(values, reference) < 1e-5


@pytest.mark.slow
def test_weights_that_do_not_fit_our_network(job: Callable[..., Job], folder: Path) -> None:
    other = replace(GRAPH, architecture=NETWORK.with_classes(11))
    with pytest.raises(LoadError) as caught:
        run(job(folder / "w.safetensors", network=other), timeout=TIMEOUT)
    assert caught.value.shapes[0] == "fc.weight: (10, 512) in the weights, (11, 512) in the network"


# MINDIR


@pytest.mark.slow
def test_a_mindir_runs_as_it_is(job: Callable[..., Job], folder: Path, tmp_path: Path, exact: Outcome) -> None:
    shape = (1, 3, 64, 64)
    file = mc.convert(folder / "w.safetensors", to="mindir", out=tmp_path / "w.mindir", input_shape=shape).path
    waiting = file.rename(tmp_path / "w.mindir.part")  # MindSpore goes by the suffix
    made = job(waiting, container="mindir", runtime="mindspore", inputs=("even.npy",), batch=1)
    outcome = run(made, timeout=TIMEOUT)
    assert distance(outcome.logits[0], exact.logits[0]) < 1e-5
    assert outcome.loader == "mindspore.load"
    ours = {name: hashlib.sha256(ref.read().tobytes()).hexdigest() for name, ref in mc_tensors(waiting).items()}
    assert outcome.hashes == ours
    with pytest.raises(RuntimeRefusedError, match="has no taps"):
        run(replace(made, watch="stages"), timeout=TIMEOUT)


@pytest.mark.slow
def test_pictures_that_a_mindir_does_not_take(job: Callable[..., Job], tmp_path: Path) -> None:
    import mindspore
    from mindspore import nn

    class OfOneSize(nn.Cell):
        def construct(self, x: Any) -> Any:
            return x.reshape((4, 3 * 64 * 64))

    sample = mindspore.Tensor(np.zeros((4, 3, 64, 64), np.float32))
    mindspore.export(OfOneSize(), sample, file_name=str(tmp_path / "w.mindir"), file_format="MINDIR")
    made = job(tmp_path / "w.mindir", runtime="mindspore", inputs=("even.npy",))
    assert run(made, timeout=TIMEOUT).logits[0].shape == (4, 3 * 64 * 64)
    with pytest.raises(RuntimeRefusedError, match=r"the \.mindir does not run on \(2, 3, 64, 64\)"):
        run(replace(made, batch=2), timeout=TIMEOUT)


@pytest.mark.slow
def test_a_file_that_is_no_mindir(job: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "w.mindir").write_bytes(b"no model")
    with pytest.raises(LoadError, match=r"MindSpore cannot load .*w\.mindir"):
        run(job(tmp_path / "w.mindir", runtime="mindspore"), timeout=TIMEOUT)
