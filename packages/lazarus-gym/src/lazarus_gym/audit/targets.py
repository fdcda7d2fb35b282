"""What can be audited: the tasks of this package, those of reasoning-gym, and files of tasks."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from lazarus_core.plugins import near_name
from lazarus_gym.environments.single_turn.jailed import NOT_INSTALLED, REASONING_GYM
from lazarus_gym.errors import AuditError
from lazarus_gym.jail import Jail, JailConfig, JailResult, Protections
from lazarus_gym.samples import read_tasks

if TYPE_CHECKING:
    from lazarus_gym.openenv import OpenEnvConfig

OWN = "lazarus"
_OWN_MODULE, _REASONING_MODULE, _FILE_MODULE = (
    "lazarus_gym.audit.own_tasks",
    "inside.reasoning_tasks",
    "lazarus_gym.audit.file_tasks",
)
_EXPORT_MODULE = "inside.exported_tasks"
_FUNCTIONS = ("names", "item", "score", "fresh_items")
_MEMORY_MB = 1500


class AuditWorker(Protocol):
    """What runs the functions of an audit: a jail, or a client of a server."""

    def __enter__(self) -> Self:
        """Begins its use."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Ends its use."""
        ...

    @property
    def protections(self) -> Protections:
        """How it is confined."""
        ...

    @property
    def process_id(self) -> int | None:
        """Identity of the worker; None before the first call, and after it was replaced."""
        ...

    def call(
        self, target: str, *args: Any, answer: str | None = None, marker: str = "", trusts_text: bool = False
    ) -> JailResult:
        """Calls a function; see `Jail.call`.

        Args:
            target: Its name.
            args: Its arguments.
            answer: Text of a model among them.
            marker: Word to look for in executed code.
            trusts_text: Whether any text may be executed.
        """
        ...

    def close(self) -> None:
        """Ends the worker; the next call starts another one."""
        ...


@dataclass(frozen=True)
class AuditTarget:
    """Tasks behind four functions of a worker: `names`, `item`, `score` and `fresh_items`.

    Args:
        name: What was asked for.
        module: Module of the functions.
        wanted: Names of the tasks; None for all.
        python: Python of the worker.
        imports: Modules that the worker imports before it is confined.
        has_splits: Whether there are tasks of training and others of evaluation.
        path: Folders in which the worker looks for modules first.
        address: The OpenEnv server that has the tasks instead of a module.
        wall_s: Seconds for one call; the slowest data set of reasoning-gym needs 20 s for its tasks.
    """

    name: str
    module: str
    wanted: tuple[str, ...] | None = None
    python: Path = field(default_factory=lambda: Path(sys.executable))
    imports: tuple[str, ...] = ()
    has_splits: bool = True
    path: tuple[Path, ...] = ()
    address: "OpenEnvConfig | None" = None
    wall_s: float = 60.0

    @property
    def is_file(self) -> bool:
        """Whether the tasks come from a file."""
        return self.module in (_FILE_MODULE, _EXPORT_MODULE)

    def worker(self, hash_seed: int = 0) -> AuditWorker:
        """A worker of the functions.

        Args:
            hash_seed: `PYTHONHASHSEED` of the worker.
        """
        if self.address is not None:
            from lazarus_gym.audit.remote import OpenEnvWorker

            return OpenEnvWorker(self.address)
        config = JailConfig(
            wall_s=self.wall_s,
            cpu_s=self.wall_s,
            memory_mb=_MEMORY_MB,
            hash_seed=hash_seed,
            python=self.python,
            imports=self.imports,
            path=self.path,
        )
        return Jail({name: f"{self.module}:{name}" for name in _FUNCTIONS}, config)

    def subjects(self, known: Sequence[str]) -> tuple[str, ...]:
        """The tasks to audit.

        Args:
            known: Names that the worker knows.

        Raises:
            AuditError: A name is unknown (LG-E135).
        """
        if self.wanted is None:
            return tuple(known)
        if unknown := [name for name in self.wanted if name not in known]:
            raise AuditError(
                f"{self.name}: there is no task {unknown[0]!r}{near_name(unknown[0], known)}; there are {', '.join(known)}",
                "LG-E135",
            )
        return self.wanted


def find_target(target: str, *, python: Path | None = None, environment: str | None = None) -> AuditTarget:
    """The target of a name.

    Args:
        target: `lazarus:*` or `lazarus:NAME` (games and kinds of questions of this package), `reasoning-gym:*` or
            `reasoning-gym:NAME` (several names are separated by commas), a file or folder of `lazarus generate`, a Python file
            of `lazarus gym export`, or the address of an OpenEnv server.
        environment: Environment of an OpenEnv server to ask for; None for its own choice.
        python: Python in which reasoning-gym, or what an exported file imports, is installed; None for the one that runs.

    Raises:
        AuditError: The target is none of these (LG-E135), reasoning-gym is not installed (LG-E136), or an argument has no
            effect on the target (LG-E137).
        SamplesError: A file of tasks cannot be read (LG-E110 to LG-E114).
        OpenEnvError: The address is no such address (LG-E170).
    """
    collection, colon, names = target.partition(":")
    wanted = None if names in ("*", "") else tuple(name.strip() for name in names.split(","))
    is_address = target.startswith(("ws://", "wss://", "http://", "https://"))
    path = Path(target)
    is_export = path.suffix == ".py" and path.is_file()
    if environment is not None and not is_address:
        raise AuditError(f"{target}: `environment` is of an OpenEnv server: omit it, or give an address", "LG-E137")
    if python is not None and collection != REASONING_GYM and not is_export:
        raise AuditError(
            f"{target}: `python` is of reasoning-gym and of exported files: omit it, or give such a target", "LG-E137"
        )
    if collection == OWN:
        return AuditTarget(target, _OWN_MODULE, wanted)
    if collection == REASONING_GYM:
        if python is None and find_spec("reasoning_gym") is None:
            raise AuditError(NOT_INSTALLED, "LG-E136")
        return AuditTarget(target, _REASONING_MODULE, wanted, _runnable(python), ("reasoning_gym",))
    if is_address:
        from lazarus_gym.openenv import OpenEnvAddress, OpenEnvConfig

        OpenEnvAddress.parse(target)
        config = OpenEnvConfig(address=target, environment=environment)
        return AuditTarget(target, "", address=config)
    if is_export:
        return AuditTarget(
            target,
            _EXPORT_MODULE,
            (path.stem,),
            _runnable(python),
            (path.stem,),
            has_splits=False,
            path=(path.resolve().parent,),
        )
    if path.exists():
        for name in ("train.jsonl", "eval.jsonl") if path.is_dir() else ("",):
            read_tasks(path / name)
        return AuditTarget(target, _FILE_MODULE, (str(path.resolve()),), has_splits=path.is_dir())
    from lazarus_gym.audit.own_tasks import names as own_names

    if not colon and target in own_names():
        return AuditTarget(target, _OWN_MODULE, (target,))
    raise AuditError(
        f"{target!r} cannot be audited{near_name(target, own_names())}: give lazarus:*, lazarus:NAME, reasoning-gym:*, "
        "reasoning-gym:NAME, a file or folder of tasks, a file of `gym export`, or the address of an OpenEnv server",
        "LG-E135",
    )


def _runnable(python: Path | None) -> Path:
    """The Python as an absolute path. A link is kept: it decides on the environment."""
    return Path(sys.executable) if python is None else python.absolute()
