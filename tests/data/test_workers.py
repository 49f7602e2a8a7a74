import torch
from monai.data import CacheDataset, DataLoader, MetaTensor, get_track_meta
from monai.transforms import Compose, RandSpatialCropd

from miassr_monai.data import start_worker
from miassr_monai.transforms import RandSlicePlaned


def volume(spacing):
    affine = torch.diag(torch.tensor([*spacing, 1.0]))
    return {"image": MetaTensor(torch.arange(2.0 * 3 * 4).view(1, 2, 3, 4), affine=affine)}


def batches(spacing, transforms, n=8):
    data = CacheDataset([volume(spacing)] * n, Compose(transforms), progress=False, copy_cache=False)
    loader = DataLoader(data, batch_size=1, num_workers=2, worker_init_fn=start_worker)
    return [batch["image"] for batch in loader]


def test_patches_are_plain_tensors_and_differ_from_process_to_process():
    images = batches((1, 1, 1), [RandSpatialCropd("image", (1, 1, 1), random_size=False)], n=20)
    assert not any(isinstance(image, MetaTensor) for image in images)
    # The two processes take turns.
    first, second = ([image.item() for image in images[start::2]] for start in (0, 1))
    assert first != second and len({*first, *second}) > 5
    assert get_track_meta()


def test_planes_are_still_chosen_by_the_spacings():
    thick = batches((1, 1, 3), [RandSlicePlaned("image", prob=1.0)])
    assert {image.shape[2:] for image in thick} == {(2, 3, 4)}
    isotropic = batches((1, 1, 1), [RandSlicePlaned("image", prob=1.0)])
    assert {image.shape[2:] for image in isotropic} <= {(3, 4, 2), (2, 4, 3)}
