"""The page that is asked for of a proof; refused before anything is run where it could not be written."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mshub_convert.converters.errors import UsageError

if TYPE_CHECKING:
    from mshub_convert.verify.proof import Proof


@dataclass(frozen=True, slots=True)
class Report:
    """A page to be written of a proof, and the command line that it tells."""

    path: Path
    command: str = ""

    @classmethod
    def asked(cls, report: "str | Path | Report | None") -> "Report | None":
        """What was asked for; raises where it could not be written, before anything is run."""
        if report is None:
            return None
        from mshub_convert.verify.report import check_report

        found = report if isinstance(report, Report) else cls(Path(report))
        check_report(found.path)
        return found

    def refuse_inside(self, folder: Path) -> None:
        """Raise UsageError where it would be in a folder that is made whole, of other files."""
        if folder.absolute() in self.path.absolute().parents:
            raise UsageError(
                f"{folder} is written whole, and the report is no part of it", remedy="Give another --report."
            )

    def write(self, proof: "Proof") -> "Proof":
        """Write it, and return the proof that knows of it."""
        return replace(proof, report=proof.write_report(self.path, command=self.command))
