"""Packages of somebody else, laid out in a folder as an installer leaves them: modules, and metadata with entry points."""

from pathlib import Path


def lay_out(
    folder: Path, source: str, *, package: str, module: str, group: str, points: dict[str, str], version: str = "1.0"
) -> Path:
    """Writes a package of one module into a folder that a test puts on the import path.

    Args:
        folder: Where; made if it is missing. Several packages may lie in one folder.
        source: The module's text.
        package: The distribution's name.
        module: The module's name.
        group: The group of its entry points, as `lazarus.families`.
        points: Name of each entry point -> object, as `toy_family:FAMILY`.
        version: The distribution's version.

    Returns:
        `folder`.
    """
    about = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (about / "INSTALLER").write_text("pip\n")
    listed = "".join(f"{name} = {value}\n" for name, value in points.items())
    (about / "entry_points.txt").write_text(f"[{group}]\n{listed}")
    (about / "RECORD").write_text(f"{module}.py,,\n")
    (folder / f"{module}.py").write_text(source)
    return folder
