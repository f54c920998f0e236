"""The process that looks whether a device is there: ``python -m mshub_convert.verify.probe_worker FOLDER``."""

import sys
from pathlib import Path

from .process import read_job, serve
from .runtimes import EXTRAS
from .worker import ready_runtime


def main(folder: Path) -> int:
    """Take the device that the job names, as a run would; the exit code is that of the error, if there is one."""
    job = read_job(folder)
    runtime = job["runtime"]

    def work() -> dict[str, object]:
        return {"settings": dict(ready_runtime(runtime, job["device"], job["index"])[1])}

    return serve(folder, work, what=f"the {runtime} runtime", extra=EXTRAS[runtime])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
