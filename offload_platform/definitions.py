"""What Dagster loads: the definitions of the configuration in force (`OFFLOAD_FEEDS`, or `feeds.yaml`)."""

import os

from offload_platform.orchestration.build import build_definitions
from offload_platform.settings import feeds_file, read_settings

# Loads are children of the process that reads this: what they make is for nobody else, whatever has started Dagster.
os.umask(0o077)
defs = build_definitions(read_settings(feeds_file()))
