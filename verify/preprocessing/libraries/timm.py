"""timm: ``create_transform`` with the configuration of the model."""

from ....converters.errors import EnvironmentError_
from ....converters.preprocessing import Preprocessing, from_facts
from ...errors import RuntimeRefusedError
from . import Prepare
from .pillow import as_pillow, from_pillow
from .settings import colours, refuse_bgr, share


def usual(architecture: str) -> Preprocessing:
    """``resolve_model_data_config`` of timm's own model of that name, else ``create_transform(224)``."""
    import timm
    from timm.data import resolve_data_config

    known = timm.is_model(architecture)
    cfg = timm.models.get_pretrained_cfg(architecture) if known else None
    said = resolve_data_config({}, pretrained_cfg=cfg.to_dict() if cfg else {})
    facts = {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}
    tag = f".{cfg.tag}" if cfg and cfg.tag else ""
    by = f"timm's configuration of {architecture}{tag}" if known else "timm's create_transform"
    found = from_facts(facts, stated_by=by)
    if found is None:
        raise EnvironmentError_(f"{by} is {said}, which is none of a square crop", remedy="Say what it is: --set.")
    return found


def prepare(wanted: Preprocessing) -> tuple[Prepare, Preprocessing]:
    """``create_transform``."""
    from timm.data import create_transform

    refuse_bgr(wanted, "timm")
    if wanted.interpolation == "nearest":
        raise RuntimeRefusedError("timm has no nearest interpolation", remedy="Say another: --set interpolation=…")
    steps = create_transform(
        (3, wanted.crop, wanted.crop), interpolation=wanted.interpolation, mean=wanted.mean, std=wanted.std,
        crop_pct=share(wanted), crop_mode="squash" if wanted.edges == "both" else "center",
    )  # fmt: skip
    return from_pillow(steps), as_pillow(wanted)


def advice(wanted: Preprocessing) -> str:
    """``create_transform`` with these settings."""
    if wanted.channels != "RGB":
        return ""
    mode = ', crop_mode="squash"' if wanted.edges == "both" else ""
    return (
        f'create_transform({wanted.crop}, interpolation="{wanted.interpolation}", crop_pct={share(wanted):g}{mode}'
        f"{colours(wanted)})"
    )


def versions() -> dict[str, str]:
    """Versions of timm and of Pillow, which resizes."""
    import PIL
    import timm

    return {"timm": timm.__version__, "pillow": PIL.__version__}
