"""The pretrained Moonshine-tiny encoder out of the PyPI package ``moonshine-voice``, which needs no model hub.

The package carries the encoder in ONNX Runtime's format, its matrices in 8 bits. Here they are read, brought back to
float32 and put into transformers' ``MoonshineEncoder``. The package's code is never run (it loads an audio driver).
"""

import importlib.util
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from transformers.models.moonshine.modeling_moonshine import MoonshineEncoder as MoonshineModule

from speechstrata.encoders.base import SpeechEncoder
from speechstrata.encoders.huggingface import fingerprint_of, random_model, supervision_of
from speechstrata.encoders.moonshine import MoonshineEncoder
from speechstrata.encoders.registry import LoadRequest
from speechstrata.errors import EncoderError, MissingExtraError

PACKAGE = "moonshine-voice"
VERSION = "0.0.49"
_FILE = Path("assets", "tiny-en", "encoder_model.ort")
_SAMPLE_RATE = 16000

#: ONNX's TensorProto.DataType -> NumPy; the types that this file holds weights in.
_NUMPY_TYPES = {1: np.float32, 2: np.uint8, 3: np.int8}

#: Initialisers whose name in the file is not their name in transformers.
_CONVOLUTIONS = {f"conv{number}.weight_add_tensor": f"conv{number}.weight" for number in (1, 2, 3)}


def load(request: LoadRequest) -> SpeechEncoder:
    """Load ``moonshine-tiny``, or its architecture with random weights.

    Raises:
        MissingExtraError: the package is not installed.
        EncoderError: it is another version, without the encoder.
    """
    config = transformers.MoonshineConfig()  # the defaults are Moonshine-tiny's
    model = random_model(lambda: MoonshineModule(config), request.seed)
    if request.control is None:
        model.load_state_dict(dequantized_weights(encoder_file()))  # strict: every weight, and no other
    normalize = bool(request.normalize)  # the package's own pipeline does not
    return MoonshineEncoder(
        model,
        normalize=normalize,
        unnormed=request.unnormed,
        name=request.name,
        sample_rate=_SAMPLE_RATE,
        fingerprint=fingerprint_of(model, config, normalize=normalize),
        supervision=supervision_of(request, "supervised"),
        precision=request.precision,
    )


def encoder_file() -> Path:
    """The encoder's file in the installed package, found without importing it.

    Raises:
        MissingExtraError: the package is not installed.
        EncoderError: the installed version does not hold the file.
    """
    spec = importlib.util.find_spec("moonshine_voice")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(PACKAGE, "demo", "the encoder moonshine-tiny")
    path = Path(spec.submodule_search_locations[0]) / _FILE
    if not path.is_file():
        raise EncoderError(
            f"{PACKAGE} {metadata.version(PACKAGE)} does not hold {_FILE}",
            f'install the version that does: pip install "{PACKAGE}=={VERSION}"',
        )
    return path


def dequantized_weights(path: Path) -> dict[str, Tensor]:
    """The weights of an ONNX-runtime file of Moonshine's encoder, under transformers' names, in float32.

    A matrix is stored as unsigned 8-bit q (inputs, outputs) with a scale and a zero point: w = scale x (q - zero).
    Which layer it belongs to is told by the node that multiplies by it, e.g. ``/layers.0/mlp/fc1/MatMul_quant``.

    Raises:
        MissingExtraError: onnxruntime, which brings the file format's reader, is not installed.
    """
    try:
        from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "demo", "the encoder moonshine-tiny") from error

    graph = InferenceSession.GetRootAs(path.read_bytes(), 0).Model().Graph()
    initializers = _initializers(graph)
    weights = {}
    for name, values in initializers.items():
        known = _CONVOLUTIONS.get(name, name)
        if known.endswith((".weight", ".bias")):
            weights[known] = values
    for index in range(graph.NodesLength()):
        node = graph.Nodes(index)
        path_of_node = node.Name().decode().strip("/").split("/")
        match path_of_node:
            case [*module, "MatMul_quant"]:
                quantized = initializers[node.Inputs(1).decode()].astype(np.float32)
                stem = node.Inputs(1).decode().removesuffix("_quantized")
                scale, zero = initializers[f"{stem}_scale"], initializers[f"{stem}_zero_point"]
                weights[".".join([*module, "weight"])] = (scale * (quantized - zero.astype(np.float32))).T
            case ["groupnorm", "Mul"]:
                weights["groupnorm.weight"] = initializers[node.Inputs(1).decode()].ravel()
            case ["groupnorm", "Add"]:
                weights["groupnorm.bias"] = initializers[node.Inputs(1).decode()].ravel()
    return {name: torch.from_numpy(values.copy()) for name, values in weights.items()}


def _initializers(graph: Any) -> dict[str, NDArray[Any]]:
    """The graph's constant tensors of the types that weights have, by name."""
    found = {}
    for index in range(graph.InitializersLength()):
        tensor = graph.Initializers(index)
        kind = _NUMPY_TYPES.get(tensor.DataType())
        if kind is not None:
            shape = tuple(tensor.Dims(axis) for axis in range(tensor.DimsLength()))
            found[tensor.Name().decode()] = tensor.RawDataAsNumpy().view(kind).reshape(shape)
    return found
