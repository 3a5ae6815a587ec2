"""Launches runs on this machine and can tell which of them a crash has left behind.

Run monitoring asks for each running run whether its process lives. Dagster's default launcher has no answer, so that a
run which dies together with its code server (power cut, `kill -9`, out of memory) would count as running for ever.
"""

import json

import dagster as dg
import psutil
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import ConfigurableClassData

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
# A process that began later than its run only has the number of the one that died. Clocks may have been put right
# in between by less than this.
_CLOCK_SECONDS = 60.0


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Dagster's default launcher, with a health check for runs whose process is on this machine.

    The daemon must see the processes of the code server: both run on one machine, not in containers of their own.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._found_dead: set[str] = set()

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring looks at the health of running runs."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process that began a run still lives.

        A run of another machine is taken to be well. A dead run is reported from the second look on: what killed it may
        have killed the code server too, and Dagster retries a run only if its code server is back by then.
        """
        pid = self._pid_of_dead(run)
        if pid is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if run.run_id not in self._found_dead:
            self._found_dead.add(run.run_id)
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"process {pid} has ended; looking again")
        self._found_dead.remove(run.run_id)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"process {pid} ended without a word")

    def _pid_of_dead(self, run: dg.DagsterRun) -> int | None:
        """The process of a run that has ended; None where it lives or cannot be judged from here."""
        begun = self._instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_START).records
        if not begun or not _is_local(run):
            return None
        entry = begun[-1].event_log_entry
        pid = entry.get_dagster_event().pid
        return None if pid is None or _lives(pid, entry.timestamp) else pid


def _is_local(run: dg.DagsterRun) -> bool:
    """Whether a run was launched by a code server of this machine, or by a command such as `offload run`."""
    server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    return "port" not in server or server.get("host") in _LOOPBACK


def _lives(pid: int, since: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() < since + _CLOCK_SECONDS and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
