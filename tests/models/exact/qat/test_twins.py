"""Twins compute what their integer networks compute, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from omnicodec.models import exact
from omnicodec.models.exact import qat

TWINS: dict[str, Callable[[], Sequence[qat.Twin]]] = {
    "linear": lambda: [qat.Embedding([11, 7], 24), qat.Linear(24, 30)],
    "convolution": lambda: [
        qat.Embedding([11, 7], 24, bits=16),
        qat.Requantize(),
        qat.CausalConv1d(24, 32, 3, 2),
        qat.Activation("silu"),
        qat.CausalConv1d(32, 30, 2, bits=16, fraction=8),
    ],
    "recurrent": lambda: [qat.Embedding([11, 7], 16), qat.MinGRU(16, 24), qat.MinGRU(24, 9, 16)],
    "residual": lambda: [
        qat.Embedding([11, 7], 16, bits=16),
        qat.Residual([qat.Requantize(), qat.MinGRU(16, 24), qat.Linear(24, 16, bits=16)], bits=16),
        qat.Residual(
            [qat.Requantize(), qat.Linear(16, 40), qat.Activation("gelu"), qat.Linear(40, 16)]
        ),
        qat.Linear(16, 11, bits=16, fraction=exact.LOGIT_FRACTION),
    ],
}

PICTURE: Callable[[], Sequence[qat.Twin]] = lambda: [  # noqa: E731
    qat.Embedding([11], 16),
    qat.MaskedConv2d(16, 24, 5, "A"),
    qat.Activation("tanh"),
    qat.Residual([qat.MaskedConv2d(24, 24, 3, "B"), qat.Activation("relu")]),
    qat.MaskedConv2d(24, 9, 3, "checkerboard", bits=16, fraction=8),
]


def trained(network: qat.Network, ids: Tensor) -> qat.Network:
    """Let the network see data and move its weights, as some steps of training do."""
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    for _ in range(4):
        network(ids).square().mean().backward()
        optimizer.step()
    return network


def check(network: qat.Network, ids: Tensor) -> None:
    integers = network.to_exact()
    last = network.chain[-1].range
    expected = integers(ids).double() * 2.0**-last.fraction
    assert len(expected.unique()) > 10
    assert torch.equal(network(ids).double(), expected)
    assert torch.equal(network.double()(ids), expected)
    network.float()


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_its_integer_network(name: str) -> None:
    torch.manual_seed(1)
    ids = torch.stack([torch.randint(11, (6, 30)), torch.randint(7, (6, 30))], -1)
    network = trained(qat.Network(TWINS[name]()), ids)
    network.eval()
    check(network, ids)
    network.train()
    network.freeze()
    check(trained(network, ids), ids)


def test_a_twin_over_pictures_is_its_integer_network() -> None:
    torch.manual_seed(2)
    ids = torch.randint(11, (3, 6, 7))
    network = trained(qat.Network(PICTURE()), ids)
    network.eval()
    check(network, ids)


@pytest.mark.parametrize("function", exact.FUNCTIONS)
def test_activations_have_the_gradients_of_their_functions(function: str) -> None:
    x = (torch.arange(-128, 128) / 16).double().requires_grad_()
    activation = qat.Activation(function).double()
    y = activation(qat.Signal(x, 4, 8))
    (slope,) = torch.autograd.grad(y.value.sum(), x)
    ahead = activation.eval()(qat.Signal(x.detach(), 4, 8)).value
    # A secant over a unit, but where relu has its corner.
    secant = (ahead[16:] - ahead[:-16])[:, None].squeeze()
    assert (slope[8:-8] - secant).abs().max() < 0.56
    assert (slope[8:-8] - secant).abs().mean() < 0.06


def test_the_scan_is_its_recurrence_with_its_gradients() -> None:
    random = torch.Generator().manual_seed(3)
    for length in (1, 2, 7, 33):
        decay = torch.rand(2, length, 3, generator=random, dtype=torch.float64).requires_grad_()
        drive = torch.randn(2, length, 3, generator=random, dtype=torch.float64).requires_grad_()
        h, rows = torch.zeros(2, 3, dtype=torch.float64), []
        for t in range(length):
            h = decay[:, t] * h + drive[:, t]
            rows.append(h)
        loop = torch.stack(rows, 1)
        assert torch.allclose(qat.scan(decay, drive), loop)
        weights = torch.randn(2, length, 3, generator=random, dtype=torch.float64)
        expected = torch.autograd.grad((loop * weights).sum(), [decay, drive])
        from omnicodec.models.exact.qat.recurrent import _Scan

        got = torch.autograd.grad((_Scan.apply(decay, drive) * weights).sum(), [decay, drive])
        for mine, right in zip(got, expected, strict=True):
            assert torch.allclose(mine, right)


def test_what_cannot_be_a_network_of_twins_is_refused() -> None:
    with pytest.raises(ValueError, match="starts with an Embedding"):
        qat.Network([qat.Linear(3, 4)])
    with pytest.raises(ValueError, match="Linear takes 8 bits; put a Requantize before it"):
        qat.Network([qat.Embedding([3], 4, bits=16), qat.Linear(4, 4)])
    with pytest.raises(ValueError, match="MinGRU takes 8 bits"):
        qat.Network([qat.Embedding([3], 4, bits=16), qat.Residual([qat.MinGRU(4, 4)])])
    with pytest.raises(ValueError, match="no function 'swish'"):
        qat.Activation("swish")


def test_a_network_that_saw_nothing_has_no_integers() -> None:
    with pytest.raises(RuntimeError, match="no range yet"):
        qat.Network([qat.Embedding([3], 4)]).to_exact()
