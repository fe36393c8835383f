"""TensorFlow.js models as ONNX: every operation against NumPy, in OpenCV, which runs the real ones."""

from __future__ import annotations

import base64
import json
from typing import Any

import cv2
import numpy as np
import pytest

from tasks.backends.packaged.onnx import Onnx
from tasks.backends.packaged.tfjs import convert, read_weights


class Model:
    """A graph model that a test writes node by node."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.nodes: list[dict[str, Any]] = [{"name": "x", "op": "Placeholder"}]
        self.manifest: list[dict[str, Any]] = []
        self.raw, self.shape = b"", shape

    def constant(self, values: Any, stored: str = "float32") -> str:
        name, dtype = f"c{len(self.manifest)}", "int32" if stored == "int32" else "float32"
        array = np.asarray(values, stored)
        entry = {"name": name, "shape": list(array.shape), "dtype": dtype}
        self.manifest.append(entry | ({"quantization": {"dtype": "float16"}} if stored == "float16" else {}))
        self.raw += array.tobytes()
        self.nodes.append({"name": name, "op": "Const"})
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op}{len(self.nodes)}"
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attributes})
        return name

    def run(self, x: np.ndarray, **outputs: tuple[int, ...]) -> list[np.ndarray]:
        """What OpenCV computes. outputs: their names and shapes"""

        def told(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
            dims = {name: [{"size": str(n)} for n in shape] for name, shape in shapes.items()}
            return {f"{name}:0": {"tensorShape": {"dim": dim}} for name, dim in dims.items()}

        topology = {
            "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"weights": self.manifest}],
            "signature": {"inputs": told({"x": self.shape}), "outputs": told(outputs)},
        }
        made = convert(json.dumps(topology).encode(), self.raw)
        return Onnx(lambda: made)(x)


def padding(name: str) -> dict[str, str]:
    return {"s": base64.b64encode(name.encode()).decode()}


def numbers(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(v) for v in values]}}


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)


def as_last(model: Model, name: str) -> str:
    return model.node("Transpose", name, model.constant([0, 2, 3, 1], "int32"))


def test_a_convolution_with_the_channels_last(x: np.ndarray) -> None:
    kernel = np.random.default_rng(1).normal(size=(3, 3, 3, 5)).astype(np.float16)
    model = Model(x.shape)
    padded = model.node("Pad", "x", model.constant([[0, 0], [0, 0], [1, 1], [1, 1]], "int32"))
    strides = numbers(1, 2, 2, 1)
    weights = model.constant(kernel, "float16")
    made = model.node("Conv2D", as_last(model, padded), weights, strides=strides, padding=padding("VALID"))
    biased = model.node("AddV2", made, model.constant(np.arange(5.0)))
    out = model.node("LeakyRelu", biased, alpha={"f": 0.1})
    (got,) = model.run(x, **{out: (1, 4, 4, 5)})
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))[0]
    want = np.empty((4, 4, 5))
    for i, j in np.ndindex(4, 4):
        patch = wide[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].transpose(1, 2, 0)
        want[i, j] = np.tensordot(patch, kernel.astype(np.float32), 3) + np.arange(5)
    np.testing.assert_allclose(got[0], np.where(want < 0, 0.1 * want, want), atol=1e-4)


def test_pools_parts_and_shapes(x: np.ndarray) -> None:
    model = Model(x.shape)
    pool = model.node(
        "MaxPool", as_last(model, "x"), ksize=numbers(1, 2, 2, 1), strides=numbers(1, 2, 2, 1), padding=padding("VALID")
    )
    sizes, axis = model.constant([1, 2], "int32"), model.constant(3, "int32")
    split = model.node("SplitV", pool, sizes, axis)
    joined = model.node("ConcatV2", f"{split}:1", split, model.constant(3, "int32"))
    certain = model.node("Sigmoid", joined)
    # TensorFlow writes an empty scatter where a shape was once computed.
    nothing = [model.constant(np.zeros((0, 1)), "int32"), model.constant([2], "int32")]
    nothing += [model.constant(np.zeros(0), "int32"), model.constant(0, "int32")]
    shape = model.node("AddV2", model.constant([1, 48], "int32"), model.node("SparseToDense", *nothing))
    out = model.node("Identity", model.node("Reshape", certain, shape))
    (got,) = model.run(x, **{out: (1, 48)})
    pooled = x.reshape(1, 3, 4, 2, 4, 2).max(axis=(3, 5)).transpose(0, 2, 3, 1)
    want = 1 / (1 + np.exp(-pooled[..., [1, 2, 0]]))
    np.testing.assert_allclose(got, want.reshape(1, 48), atol=1e-5)


@pytest.mark.parametrize("size", [16, 4])
def test_a_resize_between_the_centres_of_pixels(x: np.ndarray, size: int) -> None:
    model = Model(x.shape)
    attributes = {"half_pixel_centers": {"b": True}, "align_corners": {"b": False}}
    out = model.node("ResizeBilinear", as_last(model, "x"), model.constant([size, size], "int32"), **attributes)
    (got,) = model.run(x, **{out: (1, size, size, 3)})
    want = cv2.resize(x[0].transpose(1, 2, 0), (size, size), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(got[0], want, atol=1e-5)


def test_what_is_not_known_is_named(x: np.ndarray) -> None:
    model = Model(x.shape)
    out = model.node("Softplus", "x")
    with pytest.raises(ValueError, match="no ONNX for TensorFlow's Softplus"):
        model.run(x, **{out: x.shape})


def test_weights_that_are_cut_off_are_no_weights() -> None:
    with pytest.raises(ValueError, match="the weights take 8 bytes, but there are 9"):
        read_weights([{"weights": [{"name": "a", "shape": [2], "dtype": "float32"}]}], bytes(9))
