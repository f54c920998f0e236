"""Classify a picture: ``python contrib_src/run.py PICTURE``. Needs numpy, Pillow and onnxruntime."""

import argparse
import json

from inference import Model


def main() -> None:
    """Print the likeliest classes, one a line: probability and label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture")
    parser.add_argument("--top", type=int, default=5, help="how many classes to print")
    parser.add_argument("--json", action="store_true", help="print a list of JSON objects")
    options = parser.parse_args()
    try:
        found = sorted(Model().infer(options.picture), key=lambda one: -one["probability"])[: options.top]
    except OSError as error:  # no such file, or no picture
        parser.exit(1, f"cannot read {options.picture}: {error}\n")
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for one in found:
        print(f"{one['probability']:.6f}  {one['label']}")


if __name__ == "__main__":
    main()
