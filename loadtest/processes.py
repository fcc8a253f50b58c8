"""CPU time and memory of the serving processes, by role.

The process that listens on the server's port leads to its Ray node, and the node to the replicas.
Where the server runs on another machine there is nothing to see, and nothing is made up.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Literal, Protocol

import psutil

from loadtest.connection import Target
from loadtest.documents import Document

Role = Literal["replica", "proxy", "other", "client"]
_FLAG_PREFIXES = (
    "RAY_SERVE_", "RAY_worker_niceness", "RAY_OVERRIDE_RESOURCES", "RAY_metrics_report_interval_ms",
    "REPORTER_UPDATE_INTERVAL_MS",
)  # fmt: skip
SERVING: tuple[Role, ...] = ("replica", "proxy")


class Usage(Document):
    """Of one role: CPU since the first snapshot, resident memory at the second."""

    cpu_seconds: float
    memory_bytes: int
    processes: int


class ResourceUse(Document):
    """What the processes used during a run, and for how many predictions."""

    predictions: int
    roles: dict[Role, Usage]

    @property
    def serving_cpu_seconds_per_1000(self) -> float | None:
        """CPU seconds of replicas and proxy per 1,000 predictions."""
        seconds = [self.roles[role].cpu_seconds for role in SERVING if role in self.roles]
        return 1000.0 * sum(seconds) / self.predictions if self.predictions and seconds else None

    @property
    def serving_memory_bytes(self) -> int | None:
        """Resident memory of replicas and proxy, bytes; shared pages count in each."""
        sizes = [self.roles[role].memory_bytes for role in SERVING if role in self.roles]
        return sum(sizes) if sizes else None


class Snapshot(Document):
    """CPU seconds and memory of each process, keyed by pid and start time."""

    roles: dict[str, Role]
    cpu_seconds: dict[str, float]
    memory_bytes: dict[str, int]

    def until(self, later: Snapshot, predictions: int) -> ResourceUse:
        """What was used between this snapshot and a later one.

        A process born in between counts from zero; one that ended in between is left out.
        """
        usage: dict[Role, Usage] = {}
        for role in sorted(set(later.roles.values())):
            keys = [key for key, its in later.roles.items() if its == role]
            spent = (later.cpu_seconds[key] - self.cpu_seconds.get(key, 0.0) for key in keys)
            usage[role] = Usage(
                cpu_seconds=sum(spent),
                memory_bytes=sum(later.memory_bytes[key] for key in keys),
                processes=len(keys),
            )
        return ResourceUse(predictions=predictions, roles=usage)


class Accountant(Protocol):
    """Takes snapshots of the serving processes."""

    def snapshot(self) -> Snapshot | None:
        """Now, or None where the serving processes cannot be seen."""
        ...


class NoAccountant:
    """For servers on another machine: nothing can be measured."""

    def snapshot(self) -> Snapshot | None:
        return None


def role_of(title: str) -> Role:
    """Role of a process of a Ray node by its title."""
    if title.startswith("ray::ServeReplica"):
        return "replica"
    if title.startswith(("ray::ProxyActor", "ray::HAProxyManager")) or "haproxy" in title:
        return "proxy"
    return "other"


class LocalAccountant:
    """Sees the processes behind a port of this machine, and the generator's own."""

    def __init__(self, port: int, client_pid: int) -> None:
        self._port = port
        self._client_pid = client_pid

    def snapshot(self) -> Snapshot | None:
        behind_port = listeners(self._port)
        if not behind_port:
            return None
        found: dict[int, tuple[psutil.Process, Role]] = {}
        nodes = _ray_nodes(behind_port)
        for process in _families(nodes):
            found[process.pid] = (process, role_of(_title(process)))
        for process in _families(behind_port):
            # What listens is the proxy of a Ray node; without one it is the server itself.
            role: Role = "proxy" if nodes else "replica"
            if found.get(process.pid, (process, "other"))[1] != "replica":
                found[process.pid] = (process, role)
        if psutil.pid_exists(self._client_pid):
            found[self._client_pid] = (psutil.Process(self._client_pid), "client")
        return _measure(found.values())


class MemoryWatch:
    """Samples the resident memory of a snapshot's serving processes.

    Finding the processes costs tens of milliseconds of a core; asking those found costs almost
    nothing, and may be done while a load test runs.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._processes = [
            psutil.Process(int(key.split("@")[0]))
            for key, role in snapshot.roles.items()
            if role in SERVING
        ]

    def bytes(self) -> int:
        """Resident memory of all of them now, bytes; one that ended has none."""
        return sum(self._resident(process) for process in self._processes)

    @staticmethod
    def _resident(process: psutil.Process) -> int:
        try:
            return int(process.memory_info().rss)
        except psutil.Error:
            return 0


def make_accountant(url: str, client_pid: int) -> Accountant:
    """For a local URL the accountant of its port, for any other one that sees nothing."""
    target = Target.from_url(url)
    if is_local(target.host):
        return LocalAccountant(target.port, client_pid)
    return NoAccountant()


def is_local(host: str) -> bool:
    """Whether a host name is this machine."""
    try:
        address = ipaddress.ip_address(socket.gethostbyname(host))
    except (OSError, ValueError):
        return False
    if address.is_loopback or address.is_unspecified:
        return True
    own = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries}
    return str(address) in own


def listeners(port: int) -> list[psutil.Process]:
    """Processes of this machine that listen on a TCP port; empty where they cannot be seen."""
    pids = set()
    try:
        for connection in psutil.net_connections(kind="tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port:
                pids.add(connection.pid)
    except psutil.AccessDenied:
        return []
    return [psutil.Process(pid) for pid in pids if pid and psutil.pid_exists(pid)]


def _ray_nodes(behind_port: list[psutil.Process]) -> list[psutil.Process]:
    """Ray's node processes of the cluster that the listeners belong to."""
    for listener in behind_port:
        for parent in _safely(listener):
            if _title(parent).split(" ")[0].endswith("raylet"):
                return _same_cluster(parent)
    # haproxy may have detached itself from its parent: then the one cluster there is.
    nodes = [p for p in psutil.process_iter() if _title(p).split(" ")[0].endswith("raylet")]
    detached = any("haproxy" in _title(listener) for listener in behind_port)
    clusters = {_cluster(node) for node in nodes}
    return nodes if detached and len(clusters) == 1 else []


def _same_cluster(raylet: psutil.Process) -> list[psutil.Process]:
    nodes = (p for p in psutil.process_iter() if _title(p).split(" ")[0].endswith("raylet"))
    return [node for node in nodes if _cluster(node) == _cluster(raylet)]


def _cluster(raylet: psutil.Process) -> str:
    words = _title(raylet).split()
    return next((word for word in words if word.startswith("--gcs-address=")), "")


def _safely(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.parents())
    except psutil.Error:
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _families(roots: Iterable[psutil.Process]) -> Iterable[psutil.Process]:
    for root in roots:
        yield root
        try:
            yield from root.children(recursive=True)
        except psutil.Error:
            continue


def _measure(found: Iterable[tuple[psutil.Process, Role]]) -> Snapshot:
    roles: dict[str, Role] = {}
    cpu: dict[str, float] = {}
    memory: dict[str, int] = {}
    for process, role in found:
        try:
            with process.oneshot():
                times = process.cpu_times()
                resident = process.memory_info().rss
                key = f"{process.pid}@{process.create_time():.3f}"
        except psutil.Error:
            continue
        roles[key], cpu[key], memory[key] = role, times.user + times.system, resident
    return Snapshot(roles=roles, cpu_seconds=cpu, memory_bytes=memory)


def serving_flags(url: str) -> dict[str, str]:
    """`RAY_SERVE_*`, niceness and resources in the environment of the serving processes.

    Empty for a remote server, or where the environment may not be read.
    """
    target = Target.from_url(url)
    if not is_local(target.host):
        return {}
    behind_port = listeners(target.port)
    flags: dict[str, str] = {}
    for process in _families([*_ray_nodes(behind_port), *behind_port]):
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        flags.update({k: v for k, v in environment.items() if k.startswith(_FLAG_PREFIXES)})
    return dict(sorted(flags.items()))


def replica_ports(port: int) -> list[int]:
    """TCP ports that the replicas behind a proxy's port of this machine listen at themselves."""
    replicas = {
        process.pid
        for process in _families(_ray_nodes(listeners(port)))
        if role_of(_title(process)) == "replica"
    }
    try:
        found = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return []
    return sorted(
        {
            connection.laddr.port
            for connection in found
            if connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.pid in replicas
        }
    )
