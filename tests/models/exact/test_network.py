"""Whole and stepwise, alone and in batches, stored and loaded: always the same integers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnicodec.models import exact
from omnicodec.models.exact import BACKENDS, default_backend, use_backend

Ids = Callable[[int, int], Tensor]


def stepwise(network: exact.Network, ids: Tensor) -> Tensor:
    state = network.open(len(ids))
    return torch.stack([network.step(ids[:, t], state) for t in range(ids.shape[1])], 1)


@pytest.mark.parametrize("batch", [1, 64])
def test_whole_and_stepwise_agree(
    sequence_network: exact.Network, sequence_ids: Ids, batch: int
) -> None:
    ids = sequence_ids(batch, 23)
    whole = sequence_network(ids)
    assert len(whole.unique()) > 20
    assert torch.equal(stepwise(sequence_network, ids), whole)
    stepper = exact.Stepper(sequence_network)
    assert stepper.run(ids[-1].numpy()).tolist() == whole[-1].tolist()


def test_a_batch_is_its_items(sequence_network: exact.Network, sequence_ids: Ids) -> None:
    ids = sequence_ids(64, 23)
    whole = sequence_network(ids)
    for item in (0, 17, 63):
        assert torch.equal(sequence_network(ids[item : item + 1])[0], whole[item])
    assert torch.equal(sequence_network(ids[:, :9]), whole[:, :9])


@pytest.mark.parametrize("batch", [1, 64])
def test_pictures_whole_and_in_raster_order_agree(
    picture_network: exact.Network, batch: int
) -> None:
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(30, (batch, 6, 5), generator=random)
    whole = picture_network(ids)
    before = ids.flatten(1).roll(1, 1)
    state = picture_network.open(batch, (6, 5))
    steps = [picture_network.step(before[:, i], state) for i in range(30)]
    assert torch.equal(torch.stack(steps, 1).reshape(whole.shape), whole)
    with pytest.raises(IndexError, match="beyond the last position"):
        picture_network.step(before[:, 0], state)
    stepper = exact.Stepper(picture_network, (6, 5))
    rows = stepper.run(before[0].numpy())
    assert rows.tolist() == whole[0].flatten(0, 1).tolist()
    with pytest.raises(IndexError, match="beyond the last position"):
        stepper.step(0)


def test_backends_and_threads_change_nothing(
    sequence_network: exact.Network, sequence_ids: Ids
) -> None:
    ids = sequence_ids(9, 40)
    expected = sequence_network(ids)
    for backend in BACKENDS:
        if backend != "int_mm" or default_backend("cpu") == "int_mm":
            with use_backend(backend):
                assert torch.equal(sequence_network(ids), expected), backend
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert torch.equal(sequence_network(ids), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_and_cpu_agree(sequence_network: exact.Network, sequence_ids: Ids) -> None:
    ids = sequence_ids(5, 40)
    expected = sequence_network(ids)
    network = sequence_network.cuda()
    assert torch.equal(network(ids.cuda()).cpu(), expected)
    assert torch.equal(stepwise(network, ids.cuda()).cpu(), expected)
    logits = expected[..., :8]
    for function in (exact.frequencies, exact.log_odds, exact.argmax):
        assert torch.equal(function(logits.cuda()).cpu(), function(logits))


@pytest.mark.parametrize("sign", [-1, 1])
def test_saturated_everywhere(sign: int) -> None:
    network = exact.Network(
        [
            exact.Embedding([2] * 300, 4, 16),
            exact.Requantize(),
            exact.Residual([exact.CausalConv1d(4, 4, 3), exact.MinGRU(4, 6), exact.Linear(6, 4)]),
            exact.Linear(4, 3, 16),
        ]
    )
    for name, x in network.named_buffers():
        if name.endswith("weight"):
            x.fill_(127 * sign if "0.weight" in name else 127)
        elif name.endswith("bias"):
            x.fill_(2**29 - 1)
        elif name.endswith("shift"):
            x.fill_(-15)
    for layer in network.chain:
        layer.check()
    ids = torch.ones(2, 7, 300, dtype=torch.int64)
    whole = network(ids)
    assert whole.unique().tolist() == [32767]
    assert network.layers[0](ids).unique().tolist() == [32767 if sign > 0 else -32768]
    assert torch.equal(stepwise(network, ids), whole)
    assert exact.Stepper(network).run(ids[0].numpy()).tolist() == whole[0].tolist()


def test_stored_and_loaded(
    residual_network: exact.Network, sequence_ids: Ids, tmp_path: Path
) -> None:
    save_file(residual_network.tensors(), tmp_path / "net.safetensors")
    config = json.loads(json.dumps(residual_network.config()))
    again = exact.Network.from_config(config, load_file(tmp_path / "net.safetensors"))
    ids = sequence_ids(2, 9)
    assert torch.equal(again(ids), residual_network(ids))
    assert again.fingerprint() == residual_network.fingerprint()
    assert {x.dtype for x in again.tensors().values()} == {torch.int8, torch.int16, torch.int32}
    again.state_dict()["layers.3.weight"][0, 0] ^= 1
    assert again.fingerprint() != residual_network.fingerprint()


GOLDEN = {
    "weights": "9dab73532977ef6e",
    "outputs": "5803158eaf11d18fb95567c3f77547a892e9956a5ee6e34e63f322bf8124d9d3",
}


def test_results_never_change(residual_network: exact.Network, sequence_ids: Ids) -> None:
    y = residual_network(sequence_ids(3, 200))
    digest = hashlib.sha256()
    for x in (y, exact.frequencies(y), exact.log_odds(y)):
        digest.update(x.to(torch.int32).numpy().astype("<i4").tobytes())
    got = {"weights": residual_network.fingerprint(), "outputs": digest.hexdigest()}
    assert got == GOLDEN


def test_picture_results_never_change(picture_network: exact.Network) -> None:
    ids = (torch.arange(7 * 9) * 37 % 30).reshape(1, 7, 9)
    y = picture_network(ids).to(torch.int32).numpy().astype("<i4").tobytes()
    assert hashlib.sha256(y).hexdigest()[:16] in {"bfd2332f6a4c1d58", "0042d15eb3465a4a"}


Change = Callable[[Any], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[0].update(kind="softmax"), "no layer is called 'softmax'"),
        (lambda c: c[0].pop("kind"), "no layer is called None"),
        (lambda c: c[3].update(taps=3), "settings do not fit a layer 'linear'"),
        (lambda c: c[3].update(inputs=17), "takes 17 channels and would be given 16"),
        (lambda c: c[3].update(outputs=0), "no layer has"),
        (lambda c: c[3].update(bits=32), "8 or 16 bits"),
        (lambda c: c[2].update(bits=16), "takes 8 bits"),
        (lambda c: c[1]["branch"].pop(), "takes 16 channels and would be given 20"),
        (lambda c: c[1].update(branch=[]), "too many"),
        (lambda c: c.insert(3, c[0]), "is the first layer"),
        (lambda c: c.pop(0), "not the first layer"),
        (lambda c: c.clear(), "too many"),
    ],
)
def test_a_wrong_config_is_refused(
    residual_network: exact.Network, change: Change, message: str
) -> None:
    config, tensors = residual_network.config(), residual_network.tensors()
    change(config)
    with pytest.raises(ValueError, match=message):
        exact.Network.from_config(config, tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layers.3.weight"), "missing"),
        (lambda t: t.update(more=t["layers.3.bias"]), "too many: more"),
        (lambda t: t.update({"layers.3.bias": t["layers.3.bias"][1:]}), "another shape"),
        (lambda t: t.update({"layers.3.bias": t["layers.3.bias"].float()}), "another shape"),
        (lambda t: t["layers.3.weight"].fill_(-128), "a weight is -128"),
        (lambda t: t["layers.3.bias"].fill_(-(2**31)), "a bias is beyond"),
        (lambda t: t["layers.3.shift"].fill_(31), "shifts must be"),
        (lambda t: t["layers.1.left"].fill_(1), "left shifts"),
        (lambda t: t["layers.1.branch.1.table"].fill_(-1), "gate is negative"),
        (lambda t: t["layers.1.branch.2.table"].fill_(128), "does not fit 8 bits"),
    ],
)
def test_wrong_weights_are_refused(
    residual_network: exact.Network, change: Change, message: str
) -> None:
    tensors = residual_network.tensors()
    change(tensors)
    with pytest.raises(ValueError, match=message):
        exact.Network.from_config(residual_network.config(), tensors)


def test_only_the_first_mask_can_be_an_a() -> None:
    first = [exact.Embedding([9], 4)]
    b, a = exact.MaskedConv2d(4, 4, 3, "B"), exact.MaskedConv2d(4, 4, 3, "A")
    for layers in ([a, a], [b, a]):
        with pytest.raises(ValueError, match='the mask "A" is for the first'):
            exact.Network([*first, *layers])
    with pytest.raises(ValueError, match="past the mask A"):
        exact.Residual([a])


def test_ids_out_of_range_are_refused(sequence_network: exact.Network) -> None:
    for wrong in ([40, 0], [-1, 0], [0, 9]):
        with pytest.raises(IndexError, match="out of the range"):
            sequence_network(torch.tensor([[[0, 0], wrong]]))
        with pytest.raises(IndexError, match="out of the range"):
            exact.Stepper(sequence_network).step(wrong)
    with pytest.raises(TypeError, match="int8"):
        sequence_network.layers[-1](torch.zeros(1, 1, 24))


def test_an_empty_item(sequence_network: exact.Network) -> None:
    whole = sequence_network(torch.zeros(2, 0, 2, dtype=torch.int64))
    assert whole.shape[:2] == (2, 0)
    assert exact.Stepper(sequence_network).run(torch.zeros(0, 2)).shape == (0, whole.shape[2])
