"""Where labelled images come from: archives, folders of class folders, tables with an image column, and scikit-learn's digits."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from pliant.data.content import contents, regular
from pliant.data.decoded_image import SUFFIXES
from pliant.data.locate import LINES, TABLES, kind_of, locate
from pliant.data.npz import class_names, examples
from pliant.data.patterns import matching
from pliant.data.rows import rows
from pliant.errors import PliantError
from pliant.spec import digest, nearest
from pliant.spec.yaml import parse_json

BUILTIN = "builtin:digits"
IMAGE_COLUMNS = ("image", "img", "picture", "file_name")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "y", "target")
SPLITS = ("train", "test", "val", "valid", "validation", "heldout")


class Found(NamedTuple):
    """One labelled image as it lies in its source."""

    where: str
    content: NDArray[np.uint8] | bytes | Path
    """Pixels (height, width, channels), or a file."""
    label: Any


class Columns(NamedTuple):
    """Which columns of a table are meant; None for the usual names."""

    image: str | None
    label: str | None


def is_folder_of_classes(source: str) -> bool:
    """Whether a source is a folder whose images lie in one folder a class."""
    paths = [] if ":" in source.partition("/")[0] else matching(source)
    return len(paths) == 1 and paths[0].is_dir() and not _files(paths[0])


def holds_images(source: str) -> bool:
    """Whether a source is one of images, as far as names and columns tell. Raises PliantError for a table that cannot be read."""
    if source.startswith("builtin:"):
        return source == BUILTIN
    paths = locate(source) if source.startswith("hub:") else matching(source)
    files = [file for path in paths for file in _files(path) or [path]]
    if any(path.suffix.lower() == ".npz" for path in files):
        return True
    if len(files) == 1 and files[0].is_dir():
        return _mostly_images(files[0])
    if not files or kind_of(files[0]) not in TABLES:
        return False
    _, record = next(rows(files[:1]), ("", dict[str, Any]()))
    return all(any(name in record for name in names) for names in (IMAGE_COLUMNS, LABEL_COLUMNS))


def _mostly_images(folder: Path) -> bool:
    """Whether most files of a folder are images, and none are records: a folder of texts may hold a picture."""
    names = [Path(name) for _, _, found in os.walk(folder) for name in found if not name.startswith(".")]
    images = sum(name.suffix.lower() in SUFFIXES for name in names)
    return 2 * images > len(names) and not any(kind_of(name) in LINES for name in names)


def identity(source: str) -> str:
    """Names what a source holds: equal for equal content, wherever it lies. Raises PliantError for what cannot be read."""
    if source == BUILTIN:
        return source
    if is_folder_of_classes(source):
        files = class_files(matching(source)[0])
        return digest(json.dumps([[label, held] for (_, label), held in zip(files, contents([path for path, _ in files]), strict=True)]))
    return digest(json.dumps(contents(_paths(source))))


def found(source: str, columns: Columns, labelled: bool = True) -> Iterator[Found]:
    """Every image of a source with its label, in the source's order; `labelled` false: with or without one.

    Raises PliantError for a source that is no such thing.
    """
    if source == BUILTIN:
        yield from _digits()
    elif is_folder_of_classes(source):
        listed = class_files(matching(source)[0]) if labelled else image_files(matching(source)[0])
        for path, label in listed:
            yield Found(str(path), path, label)
    else:
        for path in _paths(source):
            if path.suffix.lower() == ".npz":
                for where, content, label in examples(path, labelled):
                    yield Found(where, content, label)
            else:
                yield from _of_table(path, columns, labelled)


def told_names(source: str, columns: Columns) -> list[str]:
    """What a source calls the labels 0, 1, ...; nothing where it does not say."""
    if source == BUILTIN or is_folder_of_classes(source):
        return []
    path = _paths(source)[0]
    return class_names(path) if path.suffix.lower() == ".npz" else _table_names(path, columns)


def class_files(folder: Path) -> list[tuple[Path, str]]:
    """The image files in a folder of class folders, by name, each with its class. What is no image by its name is left aside.

    Raises PliantError where there are none, for files that lie in no class, for a folder of splits, and for links out of the folder.
    """
    listed = image_files(folder)
    if outside := next((path.name for path, label in listed if not label), None):
        raise PliantError(f"{folder}: {outside} lies in no class; put the images of each class into a folder of its own")
    classes = sorted({label for _, label in listed})
    if all(name.lower() in SPLITS for name in classes):
        raise PliantError(f"{folder}: {' and '.join(classes)} are parts, not classes; give the folder of one of them")
    return listed


def image_files(folder: Path) -> list[tuple[Path, str]]:
    """The image files anywhere in a folder, by name, each with the folder it lies in first; empty for those in none.

    Raises PliantError where there are none, and for links out of the folder.
    """
    root, listed = Path(os.path.realpath(folder)), list[tuple[Path, str]]()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(place).relative_to(folder).parts
        for name in [*folders, *names]:
            if (Path(place) / name).is_symlink() and not Path(os.path.realpath(Path(place) / name)).is_relative_to(root):
                raise PliantError(f"{Path(place) / name}: is a link out of the folder {folder}, which is not followed; copy what it names")
        images = sorted(name for name in names if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."))
        listed += [(Path(place) / name, inside[0] if inside else "") for name in images]
    if not listed:
        raise PliantError(f"{folder}: holds no images ({', '.join(SUFFIXES)} in class folders), no archive (.npz) and no table")
    return listed


def _paths(source: str) -> list[Path]:
    """The archives or tables of a source."""
    if source.startswith("builtin:"):
        raise PliantError(f"unknown images {source[:60]}; {nearest(source, (BUILTIN,))}")
    paths = locate(source) if source.startswith("hub:") else [file for path in matching(source) for file in _files(path) or [path]]
    if not paths:
        return locate(source)  # which says what is missing
    for path in paths:
        if path.suffix.lower() != ".npz" and kind_of(path) not in (*TABLES, ".jsonl", ".csv"):
            raise PliantError(
                f"{path}: is no source of images; give a NumPy archive (.npz), a folder of class folders, or a table (.parquet, .arrow)"
            )
        regular(path)
    return paths


def _files(path: Path) -> list[Path]:
    """The archives of a folder, or else its tables, wherever in it they lie; nothing of a folder that has neither, and of a file."""
    if not path.is_dir():
        return []
    inside = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    archives = [file for file in inside if file.suffix.lower() == ".npz"]
    return archives or [file for file in inside if kind_of(file) in TABLES]


def _of_table(path: Path, columns: Columns, labelled: bool) -> Iterator[Found]:
    for where, record in rows([path]):
        image = _column(record, columns.image, IMAGE_COLUMNS, "image", where)
        label = record[_column(record, columns.label, LABEL_COLUMNS, "label", where)] if labelled else None
        yield Found(where, _content(record[image], path.parent, where), label)


def _column(record: Mapping[str, Any], asked: str | None, usual: Sequence[str], what: str, where: str) -> str:
    name = next((name for name in ([asked] if asked else usual) if name in record), None)
    if name is None:
        raise PliantError(f"{where}: has no column {asked or what!r} ({', '.join(list(record)[:8])}); name it with `{what}_column`")
    return name


def _content(value: Any, folder: Path, where: str) -> bytes | Path:
    """A file's bytes, as they stand in the table or beside it."""
    held = cast("dict[str, Any]", value) if isinstance(value, dict) else {"bytes": value} if isinstance(value, bytes) else {"path": value}
    if isinstance(held.get("bytes"), bytes):
        return held["bytes"]
    name = held.get("path")
    if not isinstance(name, str) or not name:
        raise PliantError(f"{where}: holds no image (its bytes, or the name of a file beside the table)")
    path = folder / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise PliantError(f"{where}: names {name[:80]}, which lies outside {folder}; only files beside the table are read")
    return path


def _table_names(path: Path, columns: Columns) -> list[str]:
    """The names that data sets of the hub keep in a table's schema."""
    import pyarrow
    from pyarrow import parquet

    try:
        if kind_of(path) == ".parquet":
            schema = parquet.read_schema(path)
        else:
            with pyarrow.memory_map(str(path)) as source:
                feather = source.read(6) == b"ARROW1"
                source.seek(0)
                schema = (pyarrow.ipc.open_file if feather else pyarrow.ipc.open_stream)(source).schema
        told: Any = parse_json((schema.metadata or {}).get(b"huggingface", b"null"), str(path))
        features = told["info"]["features"]
        names = next(features[name]["names"] for name in ([columns.label] if columns.label else LABEL_COLUMNS) if name in features)
        return [str(name) for name in names]
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError, StopIteration, PliantError):
        return []  # what is wrong with the file is said by whoever reads its rows


def _digits() -> Iterator[Found]:
    """1,797 hand-written digits of 8 x 8 pixels in 17 shades. Raises PliantError where scikit-learn is not installed."""
    try:
        loaded = importlib.import_module("sklearn.datasets").load_digits()
    except ImportError:
        raise PliantError(f"{BUILTIN} comes with scikit-learn, which is in the extra: pip install 'pliant[vision]'") from None
    pixels = np.rint(loaded.images * (255 / 16)).astype(np.uint8)[..., None]
    for number, label in enumerate(loaded.target.tolist()):
        yield Found(f"{BUILTIN} image {number}", pixels[number], label)
