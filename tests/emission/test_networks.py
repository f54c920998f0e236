"""Emitted modules are the networks of their weights: run without this package, and compared with our own networks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mshub_convert as mc

from .conftest import CLASSIFIERS, run

pytestmark = pytest.mark.slow


def logits(folder: Path, mode: str, place: int) -> np.ndarray:
    return np.load(folder / f"{mode}_{place}.npz")["arr_0"]


def our_logits(folder: Path, pictures: Path) -> list[np.ndarray]:
    import mindspore

    network = mc.load_mindspore(folder / "weights.ckpt")
    return [network(mindspore.Tensor(batch)).asnumpy() for batch in np.load(pictures).values()]


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def test_every_module_computes_what_our_network_does(written: Callable[[str], Path], pictures: Path) -> None:
    folders = {name: written(name) for name in CLASSIFIERS if name != "own-names"}
    run("pynative", pictures, list(folders.values()))
    for name, folder in folders.items():
        for place, ours in enumerate(our_logits(folder, pictures)):
            assert distance(logits(folder, "pynative", place), ours) < 1e-6, name


def test_a_module_with_names_of_a_user(written: Callable[[str], Path], pictures: Path) -> None:
    """No dialect of ours names them so, therefore it is compared with the weights it came from."""
    import mindspore

    folder = written("own-names")
    run("pynative", pictures, [folder])
    network = mc.load_mindspore(folder / "source.safetensors")
    for place, batch in enumerate(np.load(pictures).values()):
        ours = network(mindspore.Tensor(batch)).asnumpy()
        assert distance(logits(folder, "pynative", place), ours) < 1e-6


@pytest.mark.parametrize("name", ["squeezed-split", "deep-stem", "second"])
def test_modules_compile(written: Callable[[str], Path], pictures: Path, name: str) -> None:
    folder = written(name)
    run("graph", pictures, [folder])
    for place, ours in enumerate(our_logits(folder, pictures)):
        assert distance(logits(folder, "graph", place), ours) < 1e-6


def test_a_trait_makes_another_function(written: Callable[[str], Path], pictures: Path) -> None:
    """The comparison would see a wrong trait: the same weights in the module of another one."""
    folder, other = written("grouped"), written("same-pool")
    (folder / "network.py").write_text((other / "network.py").read_text())
    run("pynative", pictures, [folder])
    assert distance(logits(folder, "pynative", 0), our_logits(folder, pictures)[0]) > 1e-3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("missing", "it lacks ['classifier.bias']"),
        ("unknown", "['stray.weight'] are unknown"),
        ("shape", "classifier.bias"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    written: Callable[[str], Path], pictures: Path, change: str, said: str
) -> None:
    import mindspore

    folder = written("grouped")
    weights = mindspore.load_checkpoint(str(folder / "weights.ckpt"))
    if change == "missing":
        del weights["classifier.bias"]
    else:
        name = "stray.weight" if change == "unknown" else "classifier.bias"
        weights[name] = mindspore.Parameter(mindspore.Tensor(np.zeros(3, np.float32)), name=name)
    mindspore.save_checkpoint([{"name": n, "data": v} for n, v in weights.items()], str(folder / "weights.ckpt"))
    with pytest.raises(AssertionError) as raised:
        run("pynative", pictures, [folder])
    assert said in str(raised.value)
