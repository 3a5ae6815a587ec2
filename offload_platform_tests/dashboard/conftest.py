"""The dashboard is an extra: its tests are run where that is installed, by `make test` in an environment of its own."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("streamlit") else ["test_*.py"]
