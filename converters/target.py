"""The target of a conversion: container, dialect, dtype, and the file it becomes."""

from dataclasses import dataclass
from pathlib import Path

from ..mappings.dialects import BUILTIN, Dialect, dialect
from ..mappings.names import did_you_mean
from .codecs import Codec, codec, codecs
from .errors import UsageError
from .splice import write_error

_DEFAULT_DIALECT = {"ckpt": "mindcv", "pth": "timm", "safetensors": "timm"}
_FRAMEWORK = {"ckpt": "mindspore", "pth": "torch"}
DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True, slots=True)
class Target:
    """What to write: a codec, a dialect, and a dtype to cast to (None keeps the source's)."""

    codec: Codec
    dialect: Dialect
    dtype: str | None = None

    @property
    def framework(self) -> str:
        """The framework whose names the target carries."""
        return self.dialect.framework


def parse_target(text: str, *, dtype: str | None = None) -> Target:
    """Read ``FORMAT[:DIALECT]``, such as ``ckpt`` or ``safetensors:mindcv``."""
    container, _, name = text.partition(":")
    if container in BUILTIN:
        own = next(key for key, framework in _FRAMEWORK.items() if framework == dialect(container).framework)
        remedy = f"Say the container first: {own}:{container} or safetensors:{container}."
        raise UsageError(f"{container} is a dialect, not a container", remedy=remedy)
    found = codec(container)
    chosen = dialect(name or _DEFAULT_DIALECT[found.name])
    needed = _FRAMEWORK.get(found.name)
    if needed and chosen.framework != needed:
        raise UsageError(
            f"{found.title} holds {needed} names, and {chosen.name} is a {chosen.framework} dialect",
            remedy=f"Use safetensors:{chosen.name}, or {found.name}:{_DEFAULT_DIALECT[found.name]}.",
        )
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"cannot cast to {dtype!r}", remedy=did_you_mean(dtype, DTYPES))
    return Target(found, chosen, dtype)


def output_path(out: str | None, target: Target, model: str) -> Path:
    """Where the output goes: ``-o`` is a file name with the container's suffix, or a folder."""
    suffix = target.codec.suffixes[0]
    if out is None:
        return Path(f"{model}{suffix}")
    path = Path(out)
    try:
        is_folder, exists = out.endswith("/") or path.is_dir(), path.exists()
    except OSError as error:  # such as a name too long
        raise write_error(path, error) from None
    if not is_folder:
        if path.name.endswith(target.codec.suffixes):
            return path
        other = next((c for c in codecs().values() if path.name.endswith(c.suffixes)), None)
        if other is not None:
            raise UsageError(
                f"-o {out} has the suffix of {other.title}, but {target.codec.title} was asked for",
                remedy=f"Use --to {other.name}, or a name that ends in {suffix}.",
            )
        if exists:
            raise UsageError(
                f"-o {out} is a file without the suffix {suffix}", remedy=f"Give a folder or a name ending in {suffix}."
            )
    return path / f"{model}{suffix}"
