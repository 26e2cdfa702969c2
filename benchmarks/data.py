"""Where the benchmarks find the labelled data that cannot be shipped."""

import gzip
import os
import sys
from pathlib import Path

import numpy as np

__all__ = ["data_folder", "mnist_npz"]


def data_folder(*needed: str) -> Path:
    """$MADAUDIT_DATA, else ../shared/data beside the checkout; ends the program when a needed file is absent."""
    folder = Path(os.environ.get("MADAUDIT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    for name in needed:
        if not (folder / name).is_file():
            sys.exit(f"{folder / name} is missing: set MADAUDIT_DATA to the folder that holds {', '.join(needed)}")
    return folder


def mnist_npz(out: Path) -> Path:
    """The first 20,000 MNIST digits and their labels as `images` and `labels` of an .npz, as loops read them."""
    names = ("images/mnist20k-images-idx3-ubyte.gz", "images/mnist20k-labels-idx1-ubyte.gz")
    folder = data_folder(*names)
    pixels, labels = (gzip.decompress((folder / name).read_bytes()) for name in names)
    images = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28)  # IDX: headers of 16 and 8 bytes
    np.savez(out, images=images, labels=np.frombuffer(labels, np.uint8, offset=8).astype(np.int64))
    return out
