"""Made-up small data sets as IDX files."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

Files = dict[str, bytes]


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def small_mnist(train: int = 20, test: int = 6, seed: int = 0) -> Files:
    random = np.random.RandomState(seed)
    files = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = random.randint(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = random.randint(0, 10, count).astype(np.uint8)
        files[f"{prefix}-images-idx3-ubyte"] = idx(images)
        files[f"{prefix}-labels-idx1-ubyte"] = idx(labels)
    return files


def write(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
