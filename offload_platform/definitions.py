"""What Dagster loads: the definitions of the configuration in force (`OFFLOAD_FEEDS`, or `feeds.yaml`)."""

from offload_platform.orchestration.build import build_definitions
from offload_platform.settings import feeds_file, read_settings

defs = build_definitions(read_settings(feeds_file()))
