import logging

import pytest
import torch
from monai.data import set_track_meta

FLIPPED = [[-2.0, 0.0, 0.0, 90.0], [0.0, -1.5, 0.0, 126.0], [0.0, 0.0, 3.0, -72.0], [0.0, 0.0, 0.0, 1.0]]
OBLIQUE = [[0.8, -0.5, 0.3, -81.0], [0.4, 0.9, 0.6, 17.5], [-0.2, 0.1, 2.4, 33.0], [0.0, 0.0, 0.0, 1.0]]


@pytest.fixture(params=[FLIPPED, OBLIQUE], ids=["flipped", "oblique"])
def affine(request):
    """Voxel-to-world matrix of a 3-D image."""
    return torch.tensor(request.param, dtype=torch.float64)


@pytest.fixture(scope="session")
def world_ramp():
    """Function that draws an image ``size`` (two or three axes) whose values are linear in world coordinates."""
    gradient = torch.tensor([0.7, -0.3, 0.2], dtype=torch.float64)

    def draw(size, affine):
        axes = [torch.arange(n, dtype=torch.float64) for n in (*size, 1)[:3]]
        voxels = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(*size, 3)
        affine = torch.as_tensor(affine)
        return (voxels @ affine[:3, :3].T + affine[:3, 3]) @ gradient

    return draw


@pytest.fixture
def track_meta_off():
    """Switch MONAI's metadata off for one test."""
    set_track_meta(False)
    yield
    set_track_meta(True)


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Undo what the ``logging.conf`` of a bundle, whose workflow a test makes in this process, does to logging."""
    loggers = [logging.getLogger(), logging.getLogger("ignite.engine")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
