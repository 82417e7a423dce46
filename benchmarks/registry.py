"""What can be named in params.yaml: explicit tables, loaded only when used. A new entry is one line.

Entries are "module:class:parameters" so that a cell imports its own method and no other: that is what lets DVC know
that editing one method leaves the other cells' numbers alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cimbench.datasets.errors import unknown_name

METHODS = {
    "der": "cimbench.methods.der:DER:DERParameters",
    "finetune": "cimbench.methods.finetune:Finetune:FinetuneParameters",
    "foster": "cimbench.methods.foster:FOSTER:FOSTERParameters",
    "icarl": "cimbench.methods.icarl:ICaRL:ICaRLParameters",
    "joint": "cimbench.methods.joint:Joint:JointParameters",
    "lucir": "cimbench.methods.lucir:LUCIR:LUCIRParameters",
    "replay": "cimbench.methods.replay:Replay:ReplayParameters",
    "wa": "cimbench.methods.wa:WA:WAParameters",
}

COMPRESSORS = {
    "artifacts_only": "cimbench.methods.compression.artifacts_only:ArtifactsOnly:ArtifactsOnlyParameters",
    "center_box": "cimbench.methods.compression.center_box:CenterBox:CenterBoxParameters",
    "cim": "cimbench.methods.compression.cim:CIM:CIMParameters",
    "cim_foreground": "cimbench.methods.compression.cim_foreground:CIMForeground:CIMForegroundParameters",
    "cim_joint": "cimbench.methods.compression.cim_joint:CIMJoint:CIMJointParameters",
    "cim_last_block": "cimbench.methods.compression.cim_last_block:CIMLastBlock:CIMLastBlockParameters",
    "class_activation": "cimbench.methods.compression.class_activation:ClassActivation:ClassActivationParameters",
    "foreground": "cimbench.methods.compression.foreground:Foreground:ForegroundParameters",
    "full": "cimbench.methods.compression.full:Full:FullParameters",
    "jpeg": "cimbench.methods.compression.jpeg:Jpeg:JpegParameters",
    "none": "cimbench.methods.compression.none:NoCompression:NoneParameters",
    "object_box": "cimbench.methods.compression.object_box:ObjectBox:ObjectBoxParameters",
    "phase_tau": "cimbench.methods.compression.phase_tau:PhaseTau:PhaseTauParameters",
    "random_box": "cimbench.methods.compression.random_box:RandomBox:RandomBoxParameters",
    "webp": "cimbench.methods.compression.webp:Webp:WebpParameters",
}

SOURCES = {
    "caltech101": "cimbench.datasets.sources.caltech101:catalogue:Caltech101Parameters",
    "cluttered_digits": "cimbench.datasets.sources.cluttered_digits:catalogue:ClutteredDigitsParameters",
    "food101": "cimbench.datasets.sources.food101:catalogue:Food101Parameters",
    "image_folder": "cimbench.datasets.sources.image_folder:catalogue:ImageFolderParameters",
    "imagenet100": "cimbench.datasets.sources.imagenet100:catalogue:ImageNetParameters",
    "imagenet1000": "cimbench.datasets.sources.imagenet1000:catalogue:ImageNetParameters",
    "imagenet100_first": "cimbench.datasets.sources.imagenet100_first:catalogue:ImageNetParameters",
    "tiny_imagenet": "cimbench.datasets.sources.tiny_imagenet:catalogue:TinyImageNetParameters",
}


def load(kind: str, table: dict[str, str], name: str) -> tuple[Any, type]:
    """The entry's object and its parameter dataclass; InputError with the nearest name for an unknown one."""
    if name not in table:
        raise unknown_name(kind, name, table)
    module, item, parameters = table[name].split(":")
    loaded = import_module(module)
    return getattr(loaded, item), getattr(loaded, parameters)
