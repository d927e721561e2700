"""The seven networks, and what is done to images before them: once as flags of mpq, once in Python.

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
class Images:
    """Folders of images."""

    calib: str
    val: str
    # One image as `[3, H, W]`.
    read: Callable[[Path], np.ndarray]

    def names(self, data: Path) -> list[str]:
        return [path.name for path in images(data / self.val)]

    def feeds(self, model_inputs: list[str], data: Path, rows: list[int]) -> dict:
        paths = images(data / self.val)
        return {model_inputs[0]: np.stack([self.read(paths[row]) for row in rows])}

    def flags(self, flag: str, data: Path, folder: str, count: int | None, work: Path) -> list:
        """All of a folder, or links to its first images."""
        if count is None:
            return [flag, data / folder]
        links = work / "first" / f"{folder.replace('/', '_')}_{count}"
        links.mkdir(parents=True, exist_ok=True)
        for path in images(data / folder)[:count]:
            link = links / path.name
            if not link.exists():
                link.symlink_to(path.resolve())
        return [flag, links]


@dataclass(frozen=True)
class Arrays:
    """Files of arrays, `{}` in their names for the input they are for: its short name."""

    calib: str
    val: str
    # The model's inputs and what they are called in the names of the files.
    inputs: dict[str, str]

    def names(self, data: Path) -> list[str]:
        rows = len(np.load(data / self.val.format(next(iter(self.inputs.values()))), "r"))
        return [f"row {row}" for row in range(rows)]

    def feeds(self, model_inputs: list[str], data: Path, rows: list[int]) -> dict:
        return {
            name: np.load(data / self.val.format(short))[rows]
            for name, short in self.inputs.items()
        }

    def flags(self, flag: str, data: Path, files: str, count: int | None, work: Path) -> list:
        """All rows, or a copy of the first ones."""
        flags = []
        for name, short in self.inputs.items():
            path = data / files.format(short)
            if count is not None:
                first = work / "first" / f"{path.stem}_{count}.npy"
                first.parent.mkdir(parents=True, exist_ok=True)
                np.save(first, np.load(path)[:count])
                path = first
            flags += [flag, f"{name}={path}"]
        return flags


@dataclass(frozen=True)
class Network:
    name: str
    source: Images | Arrays
    # How many calibration samples the results are made with.
    calib_samples: int
    labels: str
    metric: str
    # mpq's preprocessing flags.
    flags: tuple[str, ...] = ()
    # How many validation samples the results are made with; all by default.
    val_samples: int | None = None
    # How many samples are compared with onnxruntime, and the largest error allowed: of the largest
    # absolute output. A transformer sums more and longer products.
    compared: int = 16
    tolerance: float = 1e-4

    def model(self, data: Path) -> Path:
        return data / "models" / f"{self.name}.onnx"

    def calib(self, flag: str, data: Path, work: Path) -> list:
        return self.source.flags(flag, data, self.source.calib, self.calib_samples, work)

    def val(self, flag: str, data: Path, count: int | None, work: Path) -> list:
        return self.source.flags(flag, data, self.source.val, count, work)


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
        source=Images("imagenet/calib", "imagenet/val", center(0.498, 0.502)),
        calib_samples=64,
        labels="imagenet/val/labels.csv",
        metric="top1",
        flags=("--mean", "0.498", "--std", "0.502", "--resize", "256", "--crop", "224"),
    ),
    Network(
        name="mobilenet_v2",
        source=Images("imagenet/calib", "imagenet/val", center(*HALF)),
        calib_samples=64,
        labels="imagenet/val/labels.csv",
        metric="top1",
        flags=("--preprocess", "inception", "--resize", "256", "--crop", "224"),
    ),
    Network(
        name="mobilenet_v3_textdir",
        source=Images("textdir/calib", "textdir/val", text_line(*HALF, 48, 192)),
        calib_samples=64,
        labels="textdir/val/labels.csv",
        metric="top1",
        flags=(
            *("--preprocess", "inception", "--channels", "bgr"),
            *("--resize", "fit:48x192", "--pad", "right"),
        ),
    ),
    Network(
        name="resnet20_cifar10",
        source=Images("cifar10/calib", "cifar10/val", as_is(IMAGENET_MEAN, IMAGENET_STD)),
        calib_samples=64,
        labels="cifar10/val/labels.csv",
        metric="top1",
        flags=("--preprocess", "imagenet"),
    ),
    Network(
        name="deeplabv3_mnv2_257",
        source=Images("camvid/calib", "camvid/images", stretched(*HALF, 257, 257)),
        calib_samples=32,
        labels="camvid/masks",
        metric=MIOU,
        flags=("--preprocess", "inception", "--resize", "257x257"),
    ),
    Network(
        name="minilm_l6_sst2",
        source=Arrays(
            "sst2/calib_{}.npy", "sst2/val_{}.npy", {"input_ids": "ids", "attention_mask": "mask"}
        ),
        calib_samples=32,
        labels="sst2/val.csv",
        metric="top1",
        compared=64,
        tolerance=1e-3,
    ),
    Network(
        name="vit_s14_8blk_animal",
        source=Images("imagenet/calib", "imagenet/val", center(IMAGENET_MEAN, IMAGENET_STD)),
        calib_samples=16,
        labels="imagenet/val/animal_labels.csv",
        metric="top1",
        flags=("--preprocess", "imagenet", "--resize", "256", "--crop", "224"),
        val_samples=100,
        compared=64,
        tolerance=1e-3,
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
