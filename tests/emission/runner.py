"""Runs emitted modules where this package cannot be imported: ``runner.py MODE PICTURES FOLDER...``."""

import importlib.util
import sys
from pathlib import Path

import numpy as np

sys.modules["mshub_convert"] = None  # any import of it fails


def main(mode: str, pictures: str, *folders: str) -> None:
    import mindspore

    mindspore.set_context(mode=mindspore.GRAPH_MODE if mode == "graph" else mindspore.PYNATIVE_MODE)
    for index, folder in enumerate(map(Path, folders)):
        spec = importlib.util.spec_from_file_location(f"network_{index}", folder / "network.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # MindSpore compiles by the module's name
        spec.loader.exec_module(module)
        network = module.create_network(str(folder / "weights.ckpt"))
        for place, batch in enumerate(np.load(pictures).values()):
            given = network(mindspore.Tensor(batch))
            outputs = given if isinstance(given, tuple) else (given,)
            np.savez(folder / f"{mode}_{place}.npz", *(output.asnumpy() for output in outputs))


if __name__ == "__main__":
    main(*sys.argv[1:])
