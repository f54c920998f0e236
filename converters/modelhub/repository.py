"""A repository of modelhub.ai as a whole: its files read, checked against each other, and told as facts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from ..errors import MalformedFileError, PlanError
from . import config, init, known, labels, licence, preprocessing, readme
from .config import Config
from .init import External, Init
from .preprocessing import Preprocessing

PROCESSING = "contrib_src/processing.py"
LICENCE_LIMIT = 64 << 10

# The bytes of a file of the repository, by its path; None where there is no such file.
Files = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Repository:
    """What a repository says. ``where`` names it in messages; ``licence`` is an SPDX identifier or ``unstated``."""

    where: str
    config: Config
    init: Init
    licence: str
    licence_text: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing | None
    postprocessing: str
    notices: tuple[str, ...]

    @property
    def architecture(self) -> str | None:
        """The network that config.json names, if it is one of ours."""
        return known.architecture_of(self.config.meta.name)

    def weights(self, suffixes: tuple[str, ...]) -> External:
        """The weight file: the one external file of a container we read, else where a repository keeps it itself.

        Without an address (``url`` is empty) the file is part of the repository.
        """
        readable = [one for one in self.init.files if one.path.endswith(suffixes)]
        stated = [one for one in readable if one.path.endswith(self.config.about.format or ".onnx")]
        if stated or readable:
            return (stated or readable)[0]
        suffix = self.config.about.format or ".onnx"
        others = [PurePosixPath(one.path).name for one in self.init.files]
        if others or not suffix.endswith(suffixes):
            raise PlanError(
                f"{self.where}: the model is {others[0] if others else f'a {suffix} file'}, which is not read",
                remedy=f"Readable are {', '.join(dict.fromkeys(suffixes))}; convert it with its own framework first.",
            )
        return External("", f"contrib_src/model/model{suffix}")

    def facts(self) -> dict[str, object]:
        """What goes into the record of converted weights."""
        said = self.config
        stated: dict[str, object] = {
            "library": "modelhub.ai",
            "id": said.id,
            "name": said.meta.name,
            **{item.name: getattr(said.meta, item.name) for item in fields(said.meta) if item.name != "name"},
            "publication": _filled(said.publication) if said.publication else None,
            "model": _filled(said.about),
            "license": self.licence,
            "license_text": self.licence_text if self.licence != licence.UNSTATED else "",
            "preprocessing": self.preprocessing.as_dict() if self.preprocessing else None,
            "postprocessing": self.postprocessing,
            "labels": list(self.labels) if not labels.indices(self.labels) else None,
            "docker_id": self.init.docker_id,
        }
        return {key: value for key, value in stated.items() if value not in ("", None, {})}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the files as they read, and what was found wrong."""
        return {
            "where": self.where, "config": self.config.as_dict(), "unknown": dict(self.config.unknown),
            "lacks": list(self.config.lacks), "init": self.init.as_dict(), "license": self.licence,
            "license_text": self.licence_text, "labels": list(self.labels), "architecture": self.architecture,
            "preprocessing": self.preprocessing.as_dict() if self.preprocessing else None,
            "postprocessing": self.postprocessing, "notices": list(self.notices),
        }  # fmt: skip


def read_repository(files: Files, where: str) -> Repository:
    """Read all that a repository says of its model; only config.json must be there."""
    data = files(config.PATH)
    if data is None:
        raise MalformedFileError(
            f"{where} has no {config.PATH}",
            remedy="Give a repository of modelhub.ai, with contrib_src in it.",
        )
    notices: list[str] = []
    said = config.read_config(data, f"{where}/{config.PATH}")
    text = _text(files(readme.PATH), f"{where}/{readme.PATH}")
    if text is not None:
        said, contradictions = readme.cross_check(said, readme.read_tables(text))
        notices += contradictions
    data = files(init.PATH)
    start = init.read_init(data, f"{where}/{init.PATH}") if data is not None else Init()
    data = files(labels.PATH)
    names = labels.read_labels(data, f"{where}/{labels.PATH}") if data is not None else ()
    legal = _text(files(licence.PATH), f"{where}/{licence.PATH}") or ""
    if len(legal) > LICENCE_LIMIT:
        notices.append(f"{licence.PATH} has {len(legal)} characters: only its start is recorded")
        legal = legal[:LICENCE_LIMIT]
    if licence.identify(legal) == licence.UNSTATED:
        notices.append(f"{where} states no licence of its weights ({licence.PATH})")
    before, after, complaint = _preprocessing(files, where, said, start)
    notices += complaint
    return Repository(where, said, start, licence.identify(legal), legal, names, before, after, tuple(notices))


def _preprocessing(
    files: Files, where: str, said: Config, start: Init
) -> tuple[Preprocessing | None, str, tuple[str, ...]]:
    """What is done before and after the network, and a notice where that is not known."""
    after = said.modelhub.get("postprocessing")
    data = files(preprocessing.PATH)
    if data is not None:
        found = preprocessing.read_preprocessing(data, f"{where}/{preprocessing.PATH}")
        return found, after if isinstance(after, str) else "", ()
    code = _text(files(PROCESSING), f"{where}/{PROCESSING}")
    url = start.files[0].url if start.files else ""
    runner = known.release(said.meta.name.lower(), code, url)
    if runner is not None:
        return runner.preprocessing, runner.postprocessing, ()
    why = "is code, which is not run, and not that of a known release" if code is not None else "is missing"
    return None, "", (f"the preprocessing of {said.meta.name} is not recorded: {PROCESSING} {why}",)


def _text(data: bytes | None, file: str) -> str | None:
    """The text of a file; a byte order mark and Windows' line ends are taken away."""
    if data is None:
        return None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise MalformedFileError(
            f"{file} is not UTF-8 (byte {error.start})", remedy="Save it as UTF-8, or remove it."
        ) from None


def _filled(record: Any) -> Mapping[str, object]:
    return {item.name: value for item in fields(record) if (value := getattr(record, item.name)) not in ("", None)}
