"""The five networks, and what is done to images before them: once as flags of mpq, once in Python.

Where the Python of this file and mpq disagree, one of them is wrong about the data's README.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
from PIL import Image

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# DeepLab's classes as those of the masks: bus, car; person, bicycle, motorbike.
MIOU = "miou=6:1,7:1,15:2,2:2,14:2,*:0"


@dataclass(frozen=True)
class Network:
    name: str
    calib: str
    # How many calibration samples the results are made with.
    calib_samples: int
    val: str
    labels: str
    metric: str
    # mpq's preprocessing flags.
    flags: tuple[str, ...]
    # One image as `[3, H, W]`.
    read: Callable[[Path], np.ndarray]

    def model(self, data: Path) -> Path:
        return data / "models" / f"{self.name}.onnx"


def normalized(image: Image.Image, mean, std) -> np.ndarray:
    pixels = np.asarray(image, np.float32) / np.float32(255)
    pixels = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)


def as_is(mean, std):
    return lambda path: normalized(Image.open(path).convert("RGB"), mean, std)


def center(mean, std, resize=256, crop=224):
    def read(path: Path) -> np.ndarray:
        image = Image.open(path).convert("RGB")
        scale = resize / min(image.size)
        size = tuple(round(side * scale) for side in image.size)
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = ((side - crop) // 2 for side in image.size)
        return normalized(image.crop((left, top, left + crop, top + crop)), mean, std)

    return read


def stretched(mean, std, height, width):
    def read(path: Path) -> np.ndarray:
        image = Image.open(path).convert("RGB")
        return normalized(image.resize((width, height), Image.Resampling.BILINEAR), mean, std)

    return read


def text_line(mean, std, height, width):
    """Keeps the ratio; zeros on the right; blue first."""

    def read(path: Path) -> np.ndarray:
        image = Image.open(path).convert("RGB")
        used = min(width, -(-height * image.width // image.height))
        image = image.resize((used, height), Image.Resampling.BILINEAR)
        padded = np.zeros((3, height, width), np.float32)
        padded[:, :, :used] = normalized(image, mean, std)[::-1]
        return padded

    return read


HALF = (0.5, 0.5)

NETWORKS = [
    Network(
        name="efficientnet_lite0",
        calib="imagenet/calib",
        calib_samples=64,
        val="imagenet/val",
        labels="imagenet/val/labels.csv",
        metric="top1",
        flags=("--mean", "0.498", "--std", "0.502", "--resize", "256", "--crop", "224"),
        read=center(0.498, 0.502),
    ),
    Network(
        name="mobilenet_v2",
        calib="imagenet/calib",
        calib_samples=64,
        val="imagenet/val",
        labels="imagenet/val/labels.csv",
        metric="top1",
        flags=("--preprocess", "inception", "--resize", "256", "--crop", "224"),
        read=center(*HALF),
    ),
    Network(
        name="mobilenet_v3_textdir",
        calib="textdir/calib",
        calib_samples=64,
        val="textdir/val",
        labels="textdir/val/labels.csv",
        metric="top1",
        flags=(
            *("--preprocess", "inception", "--channels", "bgr"),
            *("--resize", "fit:48x192", "--pad", "right"),
        ),
        read=text_line(*HALF, 48, 192),
    ),
    Network(
        name="resnet20_cifar10",
        calib="cifar10/calib",
        calib_samples=64,
        val="cifar10/val",
        labels="cifar10/val/labels.csv",
        metric="top1",
        flags=("--preprocess", "imagenet"),
        read=as_is(IMAGENET_MEAN, IMAGENET_STD),
    ),
    Network(
        name="deeplabv3_mnv2_257",
        calib="camvid/calib",
        calib_samples=32,
        val="camvid/images",
        labels="camvid/masks",
        metric=MIOU,
        flags=("--preprocess", "inception", "--resize", "257x257"),
        read=stretched(*HALF, 257, 257),
    ),
]


def images(folder: Path) -> list[Path]:
    """The images of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))


def named(names: str | None) -> list[Network]:
    """Those of a list such as `resnet20_cifar10,mobilenet_v2`; all without one."""
    if names is None:
        return NETWORKS
    by_name = {network.name: network for network in NETWORKS}
    unknown = [name for name in names.split(",") if name not in by_name]
    if unknown:
        raise SystemExit(f"networks are {', '.join(by_name)}; found {', '.join(unknown)}")
    return [by_name[name] for name in names.split(",")]
