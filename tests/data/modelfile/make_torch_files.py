#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the files in torch/ the way torch.save does, without torch: the same constructors in the same pickles.

Run from this folder. The layout follows torch/serialization.py (BSD): `_save` for zip archives, `_legacy_save` before 1.6.
"""
import collections
import io
import pickle
import struct
import sys
import types
import zipfile

for name in ("torch", "torch._utils", "pytorch_lightning", "pytorch_lightning.callbacks"):
    sys.modules[name] = types.ModuleType(name)
torch, utils, callbacks = sys.modules["torch"], sys.modules["torch._utils"], sys.modules["pytorch_lightning.callbacks"]


def named(module, name, value):
    value.__module__, value.__qualname__, value.__name__ = module.__name__, name, name
    setattr(module, name, value)
    return value


rebuild_v2 = named(utils, "_rebuild_tensor_v2", lambda *a: None)
rebuild_parameter = named(utils, "_rebuild_parameter", lambda *a: None)
Half = named(torch, "HalfStorage", type("HalfStorage", (), {}))
Float = named(torch, "FloatStorage", type("FloatStorage", (), {}))
Long = named(torch, "LongStorage", type("LongStorage", (), {}))
Checkpoint = named(callbacks, "ModelCheckpoint", type("ModelCheckpoint", (), {}))
ITEM_BYTES = {Half: 2, Float: 4, Long: 8}


class Storage:
    def __init__(self, kind, elements):
        self.kind, self.elements = kind, elements


class Tensor:
    def __init__(self, storage, offset, size, stride):
        self.args = (storage, offset, size, stride, False, collections.OrderedDict())

    def __reduce_ex__(self, protocol):
        return rebuild_v2, self.args


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce_ex__(self, protocol):
        return rebuild_parameter, (self.tensor, True, collections.OrderedDict())


def contiguous(kind, *size):
    stride, elements = [], 1
    for axis in reversed(size):
        stride.insert(0, elements)
        elements *= axis
    return Tensor(Storage(kind, elements), 0, size, tuple(stride))


class Pickler(pickle.Pickler):
    def __init__(self, file, keys, legacy):
        super().__init__(file, protocol=2)
        self.keys, self.legacy = keys, legacy

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        key = str(self.keys.setdefault(value, len(self.keys)))
        return ("storage", value.kind, key, "cpu", value.elements) + ((None,) if self.legacy else ())


def pickled(value, keys, legacy=False):
    out = io.BytesIO()
    Pickler(out, keys, legacy).dump(value)
    return out.getvalue()


def save_zip(path, value, folder="archive", compression=zipfile.ZIP_STORED):
    keys = {}
    data = pickled(value, keys)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in [("data.pkl", data), ("byteorder", b"little"), *(
                (f"data/{key}", bytes(storage.elements * ITEM_BYTES[storage.kind])) for storage, key in keys.items()),
                ("version", b"3\n")]:
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), content, compression)


def save_legacy(path, value):
    keys = {}
    system = dict(protocol_version=1001, little_endian=True, type_sizes=dict(short=2, int=4, long=4))
    parts = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps(system, 2),
             pickled(value, keys, True), pickle.dumps([str(key) for key in keys.values()], 2)]
    for storage in keys:
        parts.append(struct.pack("<q", storage.elements) + bytes(storage.elements * ITEM_BYTES[storage.kind]))
    open(path, "wb").write(b"".join(parts))


shared = Storage(Float, 24)
state = collections.OrderedDict([
    ("proj.weight", contiguous(Half, 3, 2)), ("proj.bias", contiguous(Half, 3)), ("scale", contiguous(Float)),
    ("ids", contiguous(Long, 1, 77)), ("left", Tensor(shared, 0, (2, 6), (12, 1))), ("right", Tensor(shared, 6, (2, 6), (12, 1))),
    ("learned", Parameter(contiguous(Float, 5)))])
state._metadata = collections.OrderedDict([("", dict(version=1))])

save_zip("torch/state_dict.pt", state)
save_zip("torch/lightning.ckpt", {"epoch": 3, "global_step": 12345678901, "lr": 0.5, "callbacks": {Checkpoint: {"best": None}},
                                  "hyper": [1, 2, (3, 4, 5, 6), {"a"}], "state_dict": dict(state)}, folder="model")
save_zip("torch/compressed.pt", state, compression=zipfile.ZIP_DEFLATED)
save_legacy("torch/legacy.pt", state)
