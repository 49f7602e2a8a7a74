"""Networks leave PyTorch: torch.export and ONNX at one scale, for images of any size."""

import pytest
import torch
from make import small_generator
from torch.export import Dim

SIZES = (24, 20), (17, 31), (9, 200)


def network():
    torch.manual_seed(0)
    return small_generator(width=4, depth=1, hidden_channels=8, anisotropic=True, skip="bicubic").eval()


def exported(network, scale):
    """The network at one scale, for images of other sizes than the one that it is traced with."""
    sizes = {2: Dim("height", min=8, max=4096), 3: Dim("width", min=8, max=4096)}
    scales = (None, None) if isinstance(scale, tuple) else None
    return torch.export.export(network, (torch.rand(1, 1, 16, 12), scale), dynamic_shapes=(sizes, scales))


# By phase, by phase with blocks of which a part is left over, and by re-association.
@pytest.mark.parametrize("scale", [(2.0, 3.0), 2.5, 2.37])
def test_what_torch_export_makes_equals_the_network_at_sizes_that_it_was_not_traced_with(scale):
    generator = network()
    program = exported(generator, scale).module()
    with torch.no_grad():
        for size in SIZES:
            image = torch.rand(1, 1, *size)
            torch.testing.assert_close(program(image, scale), generator(image, scale), rtol=0, atol=1e-6)


# At the last one, places of pixels are integers beyond 2^24, which single precision does not hold.
@pytest.mark.parametrize("scale", [2.5, 2.3333])
def test_onnx_equals_the_network_at_sizes_that_it_was_not_traced_with(scale, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    generator = network()
    torch.onnx.export(exported(generator, scale), f=tmp_path / "model.onnx", input_names=["image"], verbose=False)
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        for size in (*SIZES, (8, 1500)):
            image = torch.rand(1, 1, *size)
            (fine,) = session.run(None, {"image": image.numpy()})
            torch.testing.assert_close(torch.from_numpy(fine), generator(image, scale), rtol=0, atol=1e-5)
