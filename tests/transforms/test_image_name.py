import pytest
import torch
from monai.data import MetaTensor

from miassr_monai.transforms import DropEmptySlices, MarginCrop, ScaleToUnitRange
from miassr_monai.transforms.image_name import image_name

META = {"filename_or_obj": "folder/volume.nii.gz"}


def test_an_image_is_called_by_its_file_as_far_as_that_is_known():
    image = torch.zeros(1, 3, 3, 3)
    assert image_name(MetaTensor(image, meta=META)) == "folder/volume.nii.gz"
    assert image_name(MetaTensor(image)) == image_name(image) == "the image"


@pytest.mark.parametrize("transform", [DropEmptySlices(), MarginCrop(2), ScaleToUnitRange()])
def test_the_preprocessing_names_the_file_that_it_refuses(transform):
    with pytest.raises(ValueError, match=r"folder/volume\.nii\.gz"):
        transform(MetaTensor(torch.ones(1, 3, 3, 3), meta=META))
