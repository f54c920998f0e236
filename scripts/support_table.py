"""Put the support table into the README, from what the tests proved.

python -m pytest tests/live/test_support.py && python scripts/support_table.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "live"))


def main() -> int:
    """Render the results; fails when a tested conversion has none."""
    from support import TESTED, load_results, render, write_readme

    results = load_results()
    missing = [
        f"{source} → {to}" for source, targets in TESTED.items() for to in targets if to not in results.get(source, {})
    ]
    if missing:
        print("not proven yet: " + ", ".join(missing), file=sys.stderr)
        return 1
    write_readme(render({source: tuple(results[source]) for source in TESTED}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
