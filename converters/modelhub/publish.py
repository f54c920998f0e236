"""``--to modelhub``: the repository around a converted ONNX file, which runs on ONNX Runtime and reads back."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import PlanError
from ..findings import Finding
from ..publications import Published
from . import config, init, known, labels, licence, preprocessing, readme
from .config import About, Config, Input, Limit, Meta, Output, Publication
from .init import External, Init
from .papers import paper_of
from .preprocessing import Preprocessing

WEIGHTS = "contrib_src/model/model.onnx"
_RUNNER = ("inference.py", "processing.py", "run.py")
_REQUIREMENTS = "numpy\nPillow>=9.1\nonnxruntime\n"
_DOCKERFILE = f"""\
# What contrib_src needs. modelhub's engine goes on top: build modelhub-engine's Dockerfile_modelhub FROM this image,
# and name the result in init/init.json.
FROM python:3.11-slim
RUN pip install {" ".join(f'"{line}"' for line in _REQUIREMENTS.split())}
"""


class ModelhubRepository:
    """The publication."""

    name = "modelhub"
    title = "a repository of modelhub.ai"
    container = "onnx"
    weights = WEIGHTS
    has_module = False

    def path(self, network: str, facts: Mapping[str, Any]) -> str:
        """The one place where modelhub looks for it."""
        return WEIGHTS

    def write(self, folder: Path, published: Published) -> tuple[Finding, ...]:
        """Write config.json, init.json, licence, labels, preprocessing, runner and README around the weight file."""
        facts, network = published.record.facts, published.record.architecture
        before, assumed = _preprocessing(published)
        names = _labels(facts.get("labels"), network["classes"])
        said = _config(published, before)
        legal = _licence(published)
        files = {
            config.PATH: _json(said.as_dict()),
            init.PATH: _json(_init(published).as_dict()),
            labels.PATH: _json({str(index): name for index, name in enumerate(names)}),
            preprocessing.PATH: _json(before.as_dict()),
            licence.PATH: legal,
            "contrib_src/requirements.txt": _REQUIREMENTS,
            "dockerfiles/onnxruntime": _DOCKERFILE,
            readme.PATH: _readme(said, published, before, assumed=bool(assumed)),
            **{f"contrib_src/{name}": _runner(name) for name in _RUNNER},
        }
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        return (*assumed, *_unknown(names, legal, said))


def _runner(name: str) -> str:
    return resources.files(__package__).joinpath("runner", name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _preprocessing(published: Published) -> tuple[Preprocessing, tuple[Finding, ...]]:
    """What the runner does to a picture: as stated, else the usual, which is said to be an assumption."""
    shape = published.input_shape
    if shape is not None and shape[2] != shape[3]:
        raise PlanError(
            f"the input is fixed to {shape[2]}x{shape[3]} pixels, and the runner crops squares",
            remedy="Leave out --input-shape, or give a square one, such as 1,3,224,224.",
        )
    stated = preprocessing.from_facts(published.record.facts.get("preprocessing"), stated_by=_origin(published))
    if stated is not None and shape is not None and shape[2] != stated.crop:
        raise PlanError(
            f"{stated.stated_by} crops pictures to {stated.crop}x{stated.crop}, the input is fixed to {shape[2]}",
            remedy=f"Leave out --input-shape, or give {shape[0]},3,{stated.crop},{stated.crop}.",
        )
    if stated is not None:
        return stated, ()
    usual = preprocessing.USUAL
    if shape is not None:
        usual = replace(usual, crop=shape[2], resize=round(shape[2] * usual.resize / usual.crop))
    usual = replace(usual, stated_by="nobody: what most ImageNet networks want, written by mshub-convert")
    fact = f"{_origin(published)} states no preprocessing: {preprocessing.PATH} has the usual one of ImageNet"
    remedy = "Correct it if the weights were trained with another."
    return usual, (Finding("preprocessing", fact, (), remedy),)


def _origin(published: Published) -> str:
    """Who made the weights, in words for a sentence."""
    record = published.record
    return record.address or (record.sources[-1].name if record.sources else "the source")


def _labels(stated: object, classes: int) -> tuple[str, ...]:
    """The classes' names where the record has them all, else their indices."""
    if isinstance(stated, list) and len(stated) == classes and all(isinstance(name, str) for name in stated):
        return tuple(stated)
    return tuple(map(str, range(classes)))


def _licence(published: Published) -> str:
    facts = published.record.facts
    text, name = facts.get("license_text"), facts.get("license")
    if isinstance(text, str) and text.strip():
        return text
    return licence.text_of(name if isinstance(name, str) else "", _origin(published))


def _unknown(names: tuple[str, ...], legal: str, said: Config) -> tuple[Finding, ...]:
    """What a person should fill in."""
    found = []
    if labels.indices(names):
        fact = f"the names of the {len(names)} classes are not known: {labels.PATH} has their indices"
        found.append(Finding("labels", fact, (), "Fill in the names."))
    if licence.identify(legal) == licence.UNSTATED:
        fact = f"the licence of the weights is not stated, and {licence.PATH} says so"
        found.append(Finding("licence", fact, (), "Ask the authors of the weights before you publish them."))
    if said.lacks:
        fact = f"{config.PATH} has nothing for {', '.join(said.lacks)}, which modelhub's schema requires"
        found.append(Finding("config", fact, (), "Fill them in before you publish it."))
    return tuple(found)


def _init(published: Published) -> Init:
    return Init(files=(External(published.url, WEIGHTS),) if published.url else ())


def _config(published: Published, before: Preprocessing) -> Config:
    record = published.record
    facts, network = record.facts, record.architecture
    digest = published.sha256 or record.as_bytes().decode()
    ours = {
        "application_area": "Image classification", "task": "Classification",
        "task_extended": f"Image classification, {network['classes']} classes", "data_type": "Image/Photo",
    }  # fmt: skip
    stated = facts if facts.get("library") == "modelhub.ai" else {}
    meta = {item.name: _text(stated, item.name) or ours.get(item.name, "") for item in fields(Meta)}
    meta["name"] = _name(published.model, network["name"])
    model = stated.get("model")
    about = {
        "description": f"{network['name']} with {network['classes']} classes, converted from {_origin(published)}.",
        "provenance": _provenance(published), "architecture": "Convolutional Neural Network (CNN)",
        "learning_type": "Supervised learning",
    }  # fmt: skip
    if isinstance(model, Mapping):
        about |= {key: text for key in ("description", "architecture", "learning_type") if (text := _text(model, key))}
    crop = f"resized, cropped to {before.crop}x{before.crop} and normalised as {preprocessing.PATH} says"
    pictures = Input(
        config.SINGLE, ("image/png", "image/jpg", "image/jpeg"), (Limit(1, 4), Limit(1), Limit(1)),
        f"A picture, {crop}.",
    )  # fmt: skip
    output = Output("probabilities", "label_list", "The softmax of the network's output.")
    return Config(
        str(uuid.uuid5(uuid.NAMESPACE_OID, digest)), Meta(**meta), _paper(stated.get("publication"), network["name"]),
        About(**about, format=".onnx"), (pictures,), (output,), {"postprocessing": "softmax"},
    )  # fmt: skip


def _text(facts: Mapping[str, Any], key: str) -> str:
    value = facts.get(key)
    return value if isinstance(value, str) else ""


def _name(model: str, network: str) -> str:
    """The repository's name, in small letters and dashes; one that means another network gives way to the network's."""
    plain = "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in model.lower()).split())
    meant = known.architecture_of(plain)
    return plain if plain and meant in (None, network) else network.replace("_", "-")


def _provenance(published: Published) -> str:
    facts = published.record.facts
    texts = (facts.get(key) for key in ("url", "fetched_from", "repository", "publisher", "hub"))
    return next((text for text in texts if isinstance(text, str) and text), _origin(published))


def _paper(stated: object, network: str) -> Publication | None:
    """The publication that the source states, else the one of the architecture."""
    if not isinstance(stated, Mapping):
        return paper_of(network)
    year = stated.get("year")
    texts = {item.name: _text(stated, item.name) for item in fields(Publication) if item.name != "year"}
    return Publication(**texts, year=year if type(year) is int else None)


def _readme(said: Config, published: Published, before: Preprocessing, *, assumed: bool) -> str:
    record = published.record
    meta = {"id": said.id, **{i.name: getattr(said.meta, i.name) for i in fields(Meta) if i.name != "name"}}
    about = {item.name: getattr(said.about, item.name) for item in fields(About)}
    about |= {"I/O": f"see {config.PATH}", "license": f"see {licence.PATH}"}
    paper = ""
    if said.publication is not None:
        paper = _section("publication", {i.name: getattr(said.publication, i.name) for i in fields(Publication)})
    edges = "both edges" if before.edges == "both" else "the shorter edge"
    steps = (
        f"{edges} to {before.resize} pixels ({before.interpolation}), the centre {before.crop}x{before.crop}, 0..1, "
        f"mean {list(before.mean)}, std {list(before.std)}"
    )
    warning = " **This is an assumption: the source does not state it.**" if assumed else ""
    origin = {"pretrained": "pretrained weights", "file": "a file", "memory": "weights in memory"}
    drawn = f"drawn weights ({record.origin}), **not pretrained**"
    source = origin.get(record.origin, drawn if record.origin.startswith("calibrated") else record.origin)
    return f"""# {said.meta.name}

{said.about.description}

{_section("meta data", meta)}{paper}{_section("model", about)}## preprocessing

{steps[0].upper()}{steps[1:]}; {preprocessing.PATH} has it for the runner.{warning}

## run

    pip install -r contrib_src/requirements.txt
    python contrib_src/run.py PICTURE

modelhub's engine starts it in a Docker image, which init/init.json does not name yet: build one from
dockerfiles/onnxruntime, and fill in docker_id.

## weights

{WEIGHTS}{f", downloaded from {published.url}," if published.url else ""} was made by {record.tool} from {source}:
{_origin(published)}. {WEIGHTS}.mshub.json tells where they come from and what was done to them.
"""


def _section(title: str, rows: Mapping[str, Any]) -> str:
    return f"## {title}\n\n{readme.write_table({key: value for key, value in rows.items() if value})}\n\n"


PUBLICATION = ModelhubRepository()
