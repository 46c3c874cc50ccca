"""The paper's score of a page, run on a small model of the same shape: CLIP's own weights are not here."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sandbox.html import RenderedPage, encode
from tasks.clip import DEVIATION, MEAN, SIDE, ClipUnavailable, clip_cosine, preprocessed


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A model that gives the mean of each colour channel."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixel_values"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["image_embeds"]),
    ]
    shapes = [
        helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [1, 3, SIDE, SIDE]),
        helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, [1, 3]),
    ]
    graph = helper.make_graph(nodes, "means", shapes[:1], shapes[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, str(tmp_path / "clip.onnx"))
    return tmp_path / "clip.onnx"


def page(*colour: int) -> RenderedPage:
    return RenderedPage(encode(np.full((400, 1280, 3), colour, np.uint8)), ())


def test_without_weights_there_is_no_score() -> None:
    assert clip_cosine(page(0, 0, 0), page(1, 1, 1), None) is None


def test_with_weights(weights: Path, tmp_path: Path) -> None:
    assert clip_cosine(page(9, 8, 7), page(9, 8, 7), weights) == pytest.approx(1)
    cosine = clip_cosine(page(255, 0, 0), page(0, 255, 255), weights)
    assert cosine is not None
    assert cosine < 0
    with pytest.raises(ClipUnavailable, match="no file"):
        clip_cosine(page(9, 8, 7), page(9, 8, 7), tmp_path / "none")
    (tmp_path / "text").write_text("no model")
    with pytest.raises(ClipUnavailable, match="cannot read"):
        clip_cosine(page(9, 8, 7), page(9, 8, 7), tmp_path / "text")


def test_the_picture_is_prepared_as_the_paper_does() -> None:
    wide = np.zeros((300, 900, 3), np.uint8)
    wide[:, 300:600] = 255
    ready = preprocessed(wide)
    assert ready.shape == (3, SIDE, SIDE)
    assert ready[:, 100, 112] == pytest.approx((1 - MEAN) / DEVIATION, abs=1e-4)
    tall = preprocessed(np.zeros((4000, 1280, 3), np.uint8))
    assert tall.shape == (3, SIDE, SIDE)
