"""What can be named in params.yaml: explicit tables, loaded only when used. A new entry is one line.

Entries are "module:Class" so that a cell imports its own method and no other: that is what lets DVC know that editing
one method leaves the other cells' numbers alone. A class's parameters are what its `__init__` annotates `parameters`
with. A name that is in no table may be "module:Class" itself, of any installed package.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from cimbench.datasets.errors import InputError, nearest_name, unknown_name


class Table(dict[str, str]):
    """name -> "module:Class". base: what its classes derive from, written likewise; None where it holds functions."""

    def __init__(self, entries: Mapping[str, str], base: str | None = None) -> None:
        super().__init__(entries)
        self.base = base


METHODS = Table(
    {
        "der": "cimbench.methods.der:DER",
        "finetune": "cimbench.methods.finetune:Finetune",
        "foster": "cimbench.methods.foster:FOSTER",
        "icarl": "cimbench.methods.icarl:ICaRL",
        "joint": "cimbench.methods.joint:Joint",
        "lucir": "cimbench.methods.lucir:LUCIR",
        "replay": "cimbench.methods.replay:Replay",
        "wa": "cimbench.methods.wa:WA",
    },
    base="cimbench.methods.method:Method",
)

COMPRESSORS = Table(
    {
        "artifacts_only": "cimbench.methods.compression.artifacts_only:ArtifactsOnly",
        "avif": "cimbench.methods.compression.avif:Avif",
        "center_box": "cimbench.methods.compression.center_box:CenterBox",
        "cim": "cimbench.methods.compression.cim:CIM",
        "cim_foreground": "cimbench.methods.compression.cim_foreground:CIMForeground",
        "cim_joint": "cimbench.methods.compression.cim_joint:CIMJoint",
        "cim_last_block": "cimbench.methods.compression.cim_last_block:CIMLastBlock",
        "class_activation": "cimbench.methods.compression.class_activation:ClassActivation",
        "foreground": "cimbench.methods.compression.foreground:Foreground",
        "full": "cimbench.methods.compression.full:Full",
        "jpeg": "cimbench.methods.compression.jpeg:Jpeg",
        "none": "cimbench.methods.compression.none:NoCompression",
        "object_box": "cimbench.methods.compression.object_box:ObjectBox",
        "phase_tau": "cimbench.methods.compression.phase_tau:PhaseTau",
        "random_box": "cimbench.methods.compression.random_box:RandomBox",
        "webp": "cimbench.methods.compression.webp:Webp",
    },
    base="cimbench.methods.compression.compressor:Compressor",
)

SOURCES = Table(
    {
        "caltech101": "cimbench.datasets.sources.caltech101:catalogue",
        "cluttered_digits": "cimbench.datasets.sources.cluttered_digits:catalogue",
        "food101": "cimbench.datasets.sources.food101:catalogue",
        "image_folder": "cimbench.datasets.sources.image_folder:catalogue",
        "imagenet100": "cimbench.datasets.sources.imagenet100:catalogue",
        "imagenet1000": "cimbench.datasets.sources.imagenet1000:catalogue",
        "imagenet100_first": "cimbench.datasets.sources.imagenet100_first:catalogue",
        "tiny_imagenet": "cimbench.datasets.sources.tiny_imagenet:catalogue",
    }
)


def load(kind: str, table: Table, name: str) -> tuple[Any, type]:
    """The class (of a source: the function) that a name means, and its parameter dataclass.

    name: one of the table's, or "module:Class" of an installed package. kind: what messages call it. InputError where
    the name is not known, does not import, means something else, lacks its dataclass, or is the table's own.
    """
    if name not in table and ":" not in name:
        raise unknown(kind, name, table)
    called = f"{kind} '{name}'"
    loaded = imported(called, table.get(name, name))
    if name not in table:
        _check_not_registered(called, loaded, table)
    if table.base is not None:
        _check_derived(called, loaded, table.base)
    elif not inspect.isfunction(loaded):
        wanted = "catalogue(parameters, folder, progress) -> Catalogue"
        raise InputError(f"{called} is no source but {_described(loaded)}; expected a function {wanted}")
    return loaded, _parameters(called, loaded)


def find(table: Table, name: str) -> Any | None:
    """The class that a record's name means; None where nobody here knows it any more."""
    try:
        return load("name", table, name)[0]
    except InputError:
        return None


def sees_all_data(method: str) -> bool:
    """Whether a record's method keeps every image instead of exemplars."""
    return bool(getattr(find(METHODS, method), "sees_all_data", False))


def note(method: str) -> str:
    """What a reader of a table has to know of a method; empty where there is nothing."""
    return str(getattr(find(METHODS, method), "note", ""))


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is in no table and no "module:Class" either."""
    hint = "one of your own is named module:Class, for instance mypackage.left_half:LeftHalf"
    return InputError(f"{unknown_name(kind, name, known)}; {hint}")


def kind_of(name: str, tables: Mapping[str, Table]) -> str:
    """The key of the table whose kind "module:Class" is; InputError where it is of none."""
    loaded = imported(f"'{name}'", name)
    for kind, table in tables.items():
        fits = isinstance(loaded, type) and table.base and issubclass(loaded, imported(f"'{name}'", table.base))
        if fits or (table.base is None and inspect.isfunction(loaded)):
            return kind
    raise InputError(
        f"'{name}' is {_described(loaded)}; expected a {', '.join(tables)}: a class that derives from "
        "Method or Compressor, or a function catalogue(parameters, folder, progress) -> Catalogue"
    )


def file_name(name: str) -> str:
    """The name as folders and files have it: mypackage.left_half:LeftHalf is mypackage.left_half.LeftHalf there."""
    return name.replace(":", ".")


def source_file(table: Table, name: str) -> Path:
    """The file in which the class that a name means is defined; it may lie outside the project."""
    return Path(inspect.getfile(load("name", table, name)[0])).resolve()


def imported(called: str, entry: str) -> Any:
    """What "module:name" means; InputError, which begins with `called`, where it means nothing."""
    module, _, item = entry.partition(":")
    if not item.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise InputError(f"{called} is no name of a class; write module:Class, as in mypackage.left_half:LeftHalf")
    try:
        loaded = import_module(module)
    except Exception as error:  # whatever a stranger's module raises
        told = f"{type(error).__name__}: {error}"
        raise InputError(f"{called}: {module} does not import ({told}); install its package, or mend it") from error
    if not hasattr(loaded, item):
        public = [known for known in vars(loaded) if not known.startswith("_")]
        raise InputError(f"{called}: {module} has no {item}; {nearest_name(item, public)}")
    return getattr(loaded, item)


def _check_not_registered(called: str, loaded: Any, table: Table) -> None:
    """One thing has one name, or tables would show it as two."""
    entry = f"{getattr(loaded, '__module__', '')}:{getattr(loaded, '__qualname__', '')}"
    for name, registered in table.items():
        if registered == entry:
            raise InputError(f"{called} is what the registry calls '{name}'; expected that name")


def _check_derived(called: str, loaded: Any, base: str) -> None:
    wanted, told = imported(called, base), file_name(base)
    noun = wanted.__name__
    if not isinstance(loaded, type) or not issubclass(loaded, wanted):
        raise InputError(f"{called} is no {noun} but {_described(loaded)}; expected a class that derives from {told}")
    if inspect.isabstract(loaded):
        lacking = ", ".join(sorted(getattr(loaded, "__abstractmethods__", ())))
        raise InputError(f"{called} lacks {lacking}; expected a {noun} that defines them (see {told})")


def _parameters(called: str, loaded: Any) -> type:
    """What `parameters` is annotated with."""
    function = getattr(loaded, "__init__") if isinstance(loaded, type) else loaded  # noqa: B009
    try:
        found = get_type_hints(function).get("parameters")
    except NameError as error:
        raise InputError(f"{called}: its annotations name {error.name}, which its module does not import") from error
    if not isinstance(found, type) or not dataclasses.is_dataclass(found):
        where = "its __init__" if isinstance(loaded, type) else "it"
        raise InputError(
            f"{called} lacks its parameter dataclass; expected that {where} takes `parameters`, annotated with a "
            "frozen dataclass (without fields where there is nothing to choose)"
        )
    return found


def _described(loaded: Any) -> str:
    return f"the class {loaded.__name__}" if isinstance(loaded, type) else f"of type {type(loaded).__name__}"
