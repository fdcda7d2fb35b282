"""A forger who can write to the folder of a finished run: random edits, with every digest, manifest and chain made again.

usage: uv run python tools/attacks/forge_runs.py RUN [EDITS] [SEED]

RUN is a finished run that `lazarus verify` holds to be sound. Prints how many of the edited copies `verify` accepts with the
run's plan_id and audit head pinned, which must be none. What `verify` says is not proven is left alone: paths in `config.json`,
`throughput.jsonl`, forks, entries that no run writes.
"""

import hashlib
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lazarus_core.errors import LazarusError
from lazarus_plan.audit.line import chain, genesis, line_of
from lazarus_plan.audit.log import read_log
from lazarus_train import verify_run
from lazarus_train.run_dir.base_digest import Base
from lazarus_train.run_dir.manifest import LOCATIONS, environment_of, settings_of
from lazarus_train.run_dir.sealed_read import MANIFEST, Sealed, file_digest
from lazarus_train.run_dir.sealed_write import as_json
from lazarus_train.verify import Pins

NOT_PROVEN = {"throughput.jsonl", ".lock", "audit.jsonl.rewound"}
SEALED = ("final", "checkpoints/step-*")
LEVELS = ("nothing", "manifests", "manifests and states", "everything")
"""What the forger makes again after an edit."""
JSON = dict[str, Any]


def forge(run: Path, draw: random.Random) -> str:
    """Edits a run, and makes again what belongs to the edit; returns what was done in words."""
    name, change = draw.choice(list(EDITS.items()))
    what = change(run, draw)
    level = draw.choice(LEVELS)
    make_again(run, level)
    return f"{name} ({what}), made again: {level}"


def make_again(run: Path, level: str) -> None:
    """Makes manifests, states and the chain of a run agree with its files."""
    if level == "nothing":
        return
    for folder in sealed_folders(run):
        write_manifest(folder)
    if level != "manifests":
        for folder in sorted(run.glob("checkpoints/step-*")):
            make_state_again(run, folder)
    if level == "everything":
        make_chain_again(run)


def make_state_again(run: Path, folder: Path) -> None:
    """The state of a checkpoint says what lies there now."""
    try:
        state = json.loads((folder / "state.json").read_bytes())
        state["base"] = Base(state["base_files"]).digest
        for name, said in state["logs"].items():
            content = (run / name).read_bytes() if (run / name).is_file() else b""
            done = [
                line
                for line in content.splitlines(keepends=True)
                if json.loads(line)["step"] <= state["plan"]["next_step"]
            ]
            said |= {"bytes": len(b"".join(done)), "sha256": hashlib.sha256(b"".join(done)).hexdigest()}
        (folder / "state.json").write_bytes(as_json(state))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # the edit left no state
    write_manifest(folder)


def make_chain_again(run: Path) -> None:
    """Heads, leaves and the header say what lies there now, as far as the lines can still be read."""
    log = run / "audit.jsonl"
    try:
        header, *lines = [json.loads(line) for line in log.read_bytes().splitlines()]
        members = json.loads((run / "config.json").read_bytes())
        if not any(line.get("bind") in ("settings", "environment") for line in lines):
            header["start"]["settings"] = settings_of(members).digest
            header["start"]["environment"] = environment_of(members).digest
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    header["start"]["model"] = _base_of(run) or header["start"]["model"]
    head, written = genesis(line_of(header)), [line_of(header)]
    try:
        for line in lines:
            bound = bound_folder(run, line)
            if bound is not None and bound.is_dir():
                if line["bind"] == "checkpoint":
                    state = json.loads((bound / "state.json").read_bytes())
                    state["plan"]["audit_head"] = head.hex()
                    (bound / "state.json").write_bytes(as_json(state))
                write_manifest(bound)
                binding = Sealed.read(bound).binding(line["bind"])
                line |= {"leaf": binding.leaf.hex(), "rows": binding.rows.hex()}
            head = chain(head, bytes.fromhex(line["leaf"]), bytes.fromhex(line["rows"]), line.get("bind", ""))
            written.append(line_of({**line, "head": head.hex()}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # the edit left lines that nobody can chain
    log.write_bytes(b"".join(written))


def _base_of(run: Path) -> str | None:
    """What the last state that can be read says of the first model."""
    for path in sorted(run.glob("checkpoints/step-*/state.json"), reverse=True):
        try:
            return str(json.loads(path.read_bytes())["base"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def bound_folder(run: Path, line: JSON) -> Path | None:
    """The folder that a line binds."""
    if line.get("bind") == "final":
        return run / "final"
    return run / f"checkpoints/step-{line['step']:07d}" if line.get("bind") == "checkpoint" else None


def sealed_folders(run: Path) -> list[Path]:
    return sorted(path for pattern in SEALED for path in run.glob(pattern) if path.is_dir() and not path.is_symlink())


def write_manifest(folder: Path) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST)
    digests = {file.relative_to(folder).as_posix(): file_digest(file) for file in files}
    (folder / MANIFEST).write_bytes(as_json({"sha256": digests}))


def files_of(run: Path) -> list[Path]:
    """What can be edited: every file of the run that is proven."""
    own = [path for path in run.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(
        path for path in own if path.name not in NOT_PROVEN and path.parent.name not in ("batch_plan", "initial")
    )


def edit_bytes(run: Path, draw: random.Random) -> str:
    file = draw.choice(files_of(run))
    content = bytearray(file.read_bytes())
    place = draw.randrange(len(content) + 1)
    match draw.choice(("flip", "delete", "insert", "cut")):
        case "flip" if place < len(content):
            content[place] ^= 1 << draw.randrange(8)
        case "insert":
            content.insert(place, draw.randrange(256))
        case "cut":
            del content[place:]
        case _:
            del content[place : place + draw.randrange(1, 40)]
    file.write_bytes(content)
    return f"bytes of {file.relative_to(run)}"


def edit_value(run: Path, draw: random.Random) -> str:
    """One value of a JSON file becomes another."""
    file = draw.choice([file for file in files_of(run) if file.suffix == ".json"])
    members = json.loads(file.read_bytes())
    holder, key = draw.choice([each for each in _places(members) if not _is_location(file, run, each[2])])[:2]
    holder[key] = _other(holder[key], draw)
    file.write_bytes(as_json(members))
    return f"`{key}` of {file.relative_to(run)}"


def edit_line(run: Path, draw: random.Random) -> str:
    """One line of a log is changed, dropped, repeated or moved."""
    file = draw.choice([file for file in files_of(run) if file.suffix == ".jsonl"])
    lines = file.read_bytes().splitlines(keepends=True)
    place = draw.randrange(len(lines))
    match draw.choice(("value", "drop", "repeat", "swap", "first")):
        case "drop":
            del lines[place]
        case "repeat":
            lines.insert(place, lines[place])
        case "swap":
            other = draw.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        case "first":
            del lines[1:place]
        case _:
            members = json.loads(lines[place])
            holder, key, _ = draw.choice(_places(members))
            holder[key] = _other(holder[key], draw)
            lines[place] = line_of(members)
    file.write_bytes(b"".join(lines))
    return f"line {place} of {file.relative_to(run)}"


def edit_weights(run: Path, draw: random.Random) -> str:
    """A tensor gets other numbers, in one folder, or in the last checkpoint and in `final` alike."""
    from safetensors.numpy import load_file, save_file

    places = [file for file in files_of(run) if file.suffix == ".safetensors"]
    file = draw.choice(places)
    tensors = load_file(file)
    name = draw.choice(sorted(tensors))
    shift = draw.choice((1e-3, 0.25, 1))
    tensors[name] = np.asarray(tensors[name] + shift, dtype=tensors[name].dtype)
    save_file(tensors, file, metadata={"format": "pt"})
    last = sorted(run.glob("checkpoints/step-*"))[-1]
    twins = {last / file.name: run / "final" / file.name, run / "final" / file.name: last / file.name}
    if file in twins and twins[file].is_file() and draw.random() < 0.7:
        shutil.copy(file, twins[file])
    return f"`{name}` of {file.relative_to(run)}"


def edit_files(run: Path, draw: random.Random) -> str:
    """A file is added, removed, replaced by another or by a link."""
    folder = draw.choice(sealed_folders(run))
    file = draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    match draw.choice(("add", "remove", "link", "replace", "folder")):
        case "add":
            added = draw.choice(
                ("modelx.safetensors", "model.safetensors.index.json", "chat_template.jinja", "generation_config.json")
            )
            (folder / added).write_text(draw.choice(("{}", '{"weight_map": {}}', "x")))
            return f"{added} in {folder.relative_to(run)}"
        case "remove":
            file.unlink()
        case "link":
            content = file.read_bytes()
            file.unlink()
            (run.parent / "aside").write_bytes(content)
            file.symlink_to(run.parent / "aside")
        case "folder":
            (folder / "empty").mkdir(exist_ok=True)
        case _:
            other = draw.choice(files_of(run))
            if other != file:
                shutil.copy(other, file)
    return f"{file.relative_to(run)}"


def edit_folders(run: Path, draw: random.Random) -> str:
    """A folder goes, or takes another's place; a link leads elsewhere."""
    checkpoints = sorted(run.glob("checkpoints/step-*"))
    match draw.choice(("final", "checkpoint", "swap", "link")):
        case "final":
            shutil.rmtree(run / "final")
        case "checkpoint":
            shutil.rmtree(checkpoints[-1])
        case "swap":
            shutil.rmtree(checkpoints[-1])
            shutil.copytree(checkpoints[0], checkpoints[-1])
        case _:
            latest = run / "checkpoints/latest"
            latest.unlink()
            latest.symlink_to(checkpoints[0].name)
    return "folders"


EDITS = {
    "bytes": edit_bytes,
    "value": edit_value,
    "line": edit_line,
    "weights": edit_weights,
    "files": edit_files,
    "folders": edit_folders,
}


def _places(value: Any, path: tuple[str, ...] = ()) -> list[tuple[Any, Any, tuple[str, ...]]]:
    """Every value of a JSON document, by what holds it, its key, and the keys that lead there."""
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    found = [(value, key, (*path, str(key))) for key, _ in items]
    for key, each in items:
        found += _places(each, (*path, str(key)))
    return found


def _is_location(file: Path, run: Path, path: tuple[str, ...]) -> bool:
    """Whether a value of `config.json` says where something lies."""
    if file != run / "config.json":
        return False
    return path[0] == "folder" or (path[0] == "config" and (len(path) == 1 or path[1] in (*LOCATIONS, "eval_data")))


def _other(value: Any, draw: random.Random) -> Any:
    """Another value, mostly of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + draw.choice((-1, 1, 7))
        case float():
            return value * 1.5 + 1e-3
        case str() if len(value) in (64, 71):
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        case str():
            return value + "x"
        case None:
            return draw.choice((1, 0.5, "x"))
        case _:
            return draw.choice((None, 1, [], {}))


def accepts(run: Path, pins: Pins) -> bool:
    """Whether `verify` holds a run to be sound."""
    try:
        return all(link.holds for link in verify_run(run, pins=pins))
    except LazarusError:
        return False


def pins_of(run: Path) -> Pins:
    """What its owner wrote down."""
    header, entries = read_log(run / "audit.jsonl")
    return Pins(header.plan_id, list(entries)[-1].head.hex())


def fingerprint(run: Path) -> str:
    """Of everything in the folder that is proven."""
    digest = hashlib.sha256()
    for path in sorted(run.rglob("*")):
        if path.name in NOT_PROVEN:
            continue
        what = str(path.readlink()) if path.is_symlink() else file_digest(path) if path.is_file() else "folder"
        digest.update(f"{path.relative_to(run)} {what}\n".encode())
    return digest.hexdigest()


def attack(run: Path, edits: int, seed: int = 0) -> tuple[int, list[str]]:
    """How many copies of a run were really edited, and what was done to those that `verify` accepts all the same."""
    draw, pins, before = random.Random(seed), pins_of(run), fingerprint(run)
    assert accepts(run, pins), f"{run} is not sound"
    tried, accepted = 0, list[str]()
    with tempfile.TemporaryDirectory() as name:
        while tried < edits:
            copy = Path(name) / "run"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(run, copy, symlinks=True)
            what = forge(copy, draw)
            if fingerprint(copy) == before:
                continue
            tried += 1
            if tried % 250 == 0:
                print(f"{tried} edits, {len(accepted)} accepted", file=sys.stderr, flush=True)
            if accepts(copy, pins):
                accepted.append(what)
    return tried, accepted


def main() -> int:
    run, edits, seed = (
        Path(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else 5000,
        int(sys.argv[3]) if len(sys.argv) > 3 else 0,
    )
    tried, accepted = attack(run, edits, seed)
    for what in accepted[:20]:
        print("ACCEPTED", what)
    print(f"FIGURE forge-runs tried={tried} held={tried - len(accepted)} broke={len(accepted)}")
    return 1 if accepted else 0


if __name__ == "__main__":
    sys.exit(main())
