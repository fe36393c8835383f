"""TensorFlow.js graph models as ONNX: the operations that NanoDet needs.

convert(topology, weights)  ->  bytes of an ONNX network with the same inputs and outputs

topology: the model's .json, weights: its .bin. Weights that were stored as float16 become float32 again. TensorFlow's
convolutions, pools and resizes have the channels last; ONNX's are put between two transpositions.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

CHANNELS_FIRST, CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
PADDINGS = {"SAME": "SAME_UPPER", "VALID": "VALID"}
STORED: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4"), "int32": np.dtype("<i4")}


def convert(topology: bytes, weights: bytes) -> bytes:
    """Raises ValueError for an operation that is not known here."""
    from onnx import TensorProto, helper

    model = json.loads(topology)
    graph = _Graph(read_weights(model["weightsManifest"], weights))
    for node in model["modelTopology"]["node"]:
        graph.take(node)

    def value_info(kind: str) -> list[Any]:
        shapes = {
            name.removesuffix(":0"): [int(dim["size"]) for dim in told["tensorShape"]["dim"]]
            for name, told in model["signature"][kind].items()
        }
        at = graph.values
        return [helper.make_tensor_value_info(at[name], TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    made = helper.make_graph(graph.nodes, "tfjs", value_info("inputs"), value_info("outputs"), graph.weights)
    return bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())


def read_weights(manifest: list[dict[str, Any]], raw: bytes) -> dict[str, np.ndarray]:
    """{name: float32 or int64 array} from the bytes that lie one after the other in the manifest's order."""
    weights, at = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        dtype = STORED[entry.get("quantization", {}).get("dtype", entry["dtype"])]
        n = int(np.prod(entry["shape"], dtype=int))
        values = np.frombuffer(raw, dtype, n, at).reshape(entry["shape"])
        weights[entry["name"]] = values.astype(np.float32 if dtype.kind == "f" else np.int64)
        at += n * dtype.itemsize
    if at != len(raw):
        raise ValueError(f"the weights take {at} bytes, but there are {len(raw)}")
    return weights


class _Graph:
    """ONNX nodes so far. A TensorFlow node is a constant, or has a value: the name of what it gives in ONNX."""

    def __init__(self, stored: dict[str, np.ndarray]) -> None:
        self.stored = stored
        self.constants: dict[str, np.ndarray] = {}
        self.values: dict[str, str] = {}
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def take(self, node: dict[str, Any]) -> None:
        """Add one of TensorFlow's nodes, whose inputs have been added."""
        op, name, attributes = node["op"], node["name"], node.get("attr", {})
        inputs = [i.removesuffix(":0") for i in node.get("input", [])]
        known = [self.constants[i] for i in inputs if i in self.constants]
        if op == "Const":
            self.constants[name] = self.stored[name]
        elif op == "SparseToDense" and len(known) == 4 and known[0].size == 0:
            self.constants[name] = np.full(tuple(known[1].ravel()), known[3])
        elif op in ("Add", "AddV2") and len(known) == 2:
            self.constants[name] = known[0] + known[1]
        elif op == "Placeholder":
            self.values[name] = name
        elif op == "SplitV":
            parts = self._add(
                "Split", [self.values[inputs[0]], self._weight(known[0])], len(known[0]), axis=int(known[1])
            )
            self.values |= {name if i == 0 else f"{name}:{i}": part for i, part in enumerate(parts)}
        else:
            self.values[name] = self._value_of(op, inputs, known, attributes)

    def _value_of(self, op: str, inputs: list[str], known: list[np.ndarray], attributes: dict[str, Any]) -> str:
        at = [self.values[i] for i in inputs if i in self.values]
        match op:
            case "Add" | "AddV2":
                return self._one("Add", [*at, *map(self._weight, known)])
            case "Identity" | "Sigmoid":
                return self._one(op, at)
            case "LeakyRelu":
                return self._one(op, at, alpha=float(attributes["alpha"]["f"]))
            case "Transpose":
                return self._one(op, at, perm=[int(axis) for axis in known[0]])
            case "Reshape":
                return self._one(op, [*at, self._weight(known[0])])
            case "ConcatV2":
                return self._one("Concat", at, axis=int(known[-1]))
            case "Pad" | "PadV2":
                value = known[1].reshape(()) if op == "PadV2" else np.array(0, np.float32)
                return self._one("Pad", [*at, self._weight(known[0].T.ravel()), self._weight(value)])
            case "Conv2D" | "MaxPool" | "ResizeBilinear":
                first = self._one("Transpose", at, perm=CHANNELS_FIRST)
                made = self._channels_first(op, first, known, attributes)
                return self._one("Transpose", [made], perm=CHANNELS_LAST)
        raise ValueError(f"no ONNX for TensorFlow's {op}")

    def _channels_first(self, op: str, x: str, known: list[np.ndarray], attributes: dict[str, Any]) -> str:
        if op == "ResizeBilinear":
            # The number of channels is not known here: the size is that of x in N and C, then H and W.
            kept = self._one("Slice", [self._one("Shape", [x]), *(self._weight(np.array([i])) for i in (0, 2))])
            size = self._one("Concat", [kept, self._weight(known[0])], axis=0)
            centres = "half_pixel" if attributes["half_pixel_centers"].get("b") else "asymmetric"
            return self._one("Resize", [x, "", "", size], mode="linear", coordinate_transformation_mode=centres)
        strides = [int(i) for i in attributes["strides"]["list"]["i"]][1:3]
        padding = PADDINGS[base64.b64decode(attributes["padding"]["s"]).decode()]
        if op == "Conv2D":
            kernel = known[0].transpose(3, 2, 0, 1)
            given, shape = [x, self._weight(kernel)], list(kernel.shape[2:])
            return self._one("Conv", given, kernel_shape=shape, strides=strides, auto_pad=padding)
        shape = [int(i) for i in attributes["ksize"]["list"]["i"]][1:3]
        return self._one("MaxPool", [x], kernel_shape=shape, strides=strides, auto_pad=padding)

    def _one(self, op: str, given: list[str], **attributes: Any) -> str:
        return self._add(op, given, 1, **attributes)[0]

    def _add(self, op: str, given: list[str], n: int, **attributes: Any) -> list[str]:
        """Add an ONNX node with n outputs; returns their names."""
        from onnx import helper

        outputs = [f"{op}{len(self.nodes)}_{i}" for i in range(n)]
        self.nodes.append(helper.make_node(op, given, outputs, **attributes))
        return outputs

    def _weight(self, values: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name
