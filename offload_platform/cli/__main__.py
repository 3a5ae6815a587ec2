"""`python -m offload_platform.cli` is `offload`."""

from offload_platform.cli import main

main()
