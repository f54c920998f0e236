"""Publish a conversion: the weight file in the folder that a model hub wants, all of it or nothing."""

from dataclasses import replace

from mshub_convert.conversion import Conversion, carry_out
from mshub_convert.converters.errors import PlanError
from mshub_convert.converters.findings import Finding
from mshub_convert.converters.pipeline import (
    Prepared,
    Progress,
    publication_parts,
    refuse_problems,
    refuse_taken_name,
)
from mshub_convert.converters.publications import Publication, Published
from mshub_convert.converters.publications.folder import PublicationFolder
from mshub_convert.request import SourceRequest
from mshub_convert.verifying import Verifying


def publish(
    conversion: Prepared,
    publication: Publication,
    request: SourceRequest,
    *,
    verifying: Verifying | None,
    progress: Progress | None = None,
) -> Conversion:
    """Carry out a conversion into a publication; the path of the result is its folder.

    A verification that fails leaves what there is in ``<folder>.failed``.
    """
    from mshub_convert.verify.proof import ProofFailedError

    refuse_problems(conversion.plan)
    refuse_taken_name(conversion)
    target = conversion.target
    destination, weights = publication_parts(conversion)
    if verifying is not None and verifying.report is not None:
        verifying.report.refuse_inside(destination)
    with PublicationFolder(destination) as folder:
        inner = replace(conversion, target=replace(target, publication=None), destination=folder.path / weights)
        try:
            result = carry_out(inner, request, verifying=verifying, progress=progress)
        except ProofFailedError as error:
            kept = folder.fail() / weights
            raise error.proof.failed(kept=kept.with_name(f"{kept.name}.failed")) from None
        model = conversion.opened.source.model
        published = Published(
            result.record, model, result.sha256, result.nbytes, target.model_url, target.input_shape,
            conversion.module, weights,
        )  # fmt: skip
        findings = publication.write(folder.path, published)
        if findings and conversion.options.strict:
            raise _refused(findings)
        notices = (*result.notices, *(finding.told for finding in findings))
        return replace(result, path=folder.commit(), notices=notices)


def _refused(findings: tuple[Finding, ...]) -> PlanError:
    lines = "\n".join(f"  - {finding.told}" for finding in findings)
    message = f"the publication has gaps, which --strict refuses; nothing was written:\n{lines}"
    return PlanError(message, problems=[finding.as_dict() for finding in findings])
