"""``python -m mshub_convert``."""

from mshub_convert.cli import main

main()
