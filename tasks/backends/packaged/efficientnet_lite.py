"""EfficientNet-Lite as an ONNX graph, from its weights.

build_graph(tensors, 260, 260)  ->  bytes of a network (1, 3, 260, 260) -> (1, 1280, 9, 9) features

The classes' scores are a linear layer over the features' mean, `_fc`; over each place's, they say where a class is.

The lite variants have ReLU6 for swish and no squeeze and excitation; their stem and head are not widened. Batch
normalisation is folded into the convolutions before it.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np

# MBConv stages of EfficientNet-B0: the stride of each one's first block, and the width of its output in B0.
FIRST_STRIDES = (1, 2, 2, 2, 1, 2, 1)
N_HALVINGS = 5  # the stem and four stages have stride 2
BATCH_NORM_EPS = 1e-3


class _Graph:
    """Nodes and weights so far; `at` names the last output."""

    def __init__(self) -> None:
        from onnx import NodeProto, TensorProto

        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.at = "x"

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.at, *inputs], [name], name=name, **attributes))
        self.at = name
        return name

    def weight(self, values: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def conv(
        self, tensors: dict[str, np.ndarray], conv: str, norm: str, *, stride: int = 1, relu6: bool = True
    ) -> None:
        """A convolution with its batch normalisation folded in."""
        scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + BATCH_NORM_EPS)
        kernel = tensors[f"{conv}.weight"]
        bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
        depthwise = kernel.shape[1] == 1 and kernel.shape[0] > 1
        self.add(
            "Conv",
            self.weight((kernel * scale[:, None, None, None]).astype(np.float32)),
            self.weight(bias.astype(np.float32)),
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride],
            group=kernel.shape[0] if depthwise else 1,
            auto_pad="SAME_UPPER",
        )
        if relu6:
            self.add("Clip", self.weight(np.array(0, np.float32)), self.weight(np.array(6, np.float32)))


def build_graph(tensors: dict[str, np.ndarray], height_px: int, width_px: int) -> bytes:
    """The network up to its features, as ONNX. tensors: the state dict, by the names of `efficientnet_lite_pytorch`."""
    from onnx import TensorProto, helper

    graph = _Graph()
    graph.conv(tensors, "_conv_stem", "_bn0", stride=2)
    strides = _strides(tensors)
    for i, stride in enumerate(strides):
        block, before = f"_blocks.{i}.", graph.at
        if f"{block}_expand_conv.weight" in tensors:
            graph.conv(tensors, f"{block}_expand_conv", f"{block}_bn0")
        graph.conv(tensors, f"{block}_depthwise_conv", f"{block}_bn1", stride=stride)
        graph.conv(tensors, f"{block}_project_conv", f"{block}_bn2", relu6=False)
        if stride == 1 and _width_in(tensors, i) == _width_out(tensors, i):
            graph.add("Add", before)
    graph.conv(tensors, "_conv_head", "_bn1")
    n_features = len(tensors["_bn1.bias"])
    n_rows, n_columns = (-(-side // 2**N_HALVINGS) for side in (height_px, width_px))
    made = helper.make_graph(
        graph.nodes,
        "efficientnet-lite",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, height_px, width_px])],
        [helper.make_tensor_value_info(graph.at, TensorProto.FLOAT, [1, n_features, n_rows, n_columns])],
        graph.weights,
    )
    return bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())


def _strides(tensors: dict[str, np.ndarray]) -> list[int]:
    """Of each block. A stage begins where the width changes, or where a block does not repeat the one before."""
    n_blocks = next(i for i in count() if f"_blocks.{i}._project_conv.weight" not in tensors)
    strides, stage = [], -1
    for i in range(n_blocks):
        if i == 0 or _width_in(tensors, i) != _width_out(tensors, i):
            stage += 1
            strides.append(FIRST_STRIDES[stage])
        else:
            strides.append(1)
    return strides


def _width_in(tensors: dict[str, np.ndarray], i: int) -> int:
    name = f"_blocks.{i}._expand_conv.weight"
    first = tensors[name] if name in tensors else tensors[f"_blocks.{i}._depthwise_conv.weight"]
    return int(first.shape[1] if name in tensors else first.shape[0])


def _width_out(tensors: dict[str, np.ndarray], i: int) -> int:
    return int(tensors[f"_blocks.{i}._project_conv.weight"].shape[0])
