"""Several processes, one step: what they exchange (OmniSage §3.3: negatives are gathered across devices).

Each rank embeds its share of a step's anchors and asks its share of the queries against all candidates. Two sums over
ranks make of that the step of one process: embeddings are put together, with their gradients added up on the way back,
and the gradients of all parameters are added up before the optimizer's step, which every rank then takes alike.

Plain sums and not DistributedDataParallel: a loss is a sum of shares, so gradients are to be added up, not averaged;
which parameters a step leaves without gradient has to be known over all ranks, as AdamW moves them otherwise; and what
goes through the embedders is not a batch dimension that could be cut. It costs what DDP costs, one sum over all
gradients a step, but that it does not overlap with the backward pass.

Shapes: A anchors, N entities, E width of embeddings.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from omnisage.batches.batch import OwnAnchors
from omnisage.batches.share import WHOLE, Share
from omnisage.errors import OmnisageError
from omnisage.launch import Launch
from omnisage.model.embedder import Embedded


@dataclass(frozen=True)
class Ranks:
    """The processes that train together; alone, every method gives back what it was given."""

    share: Share = WHOLE

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes files and shows progress."""
        return self.share.rank == 0

    @property
    def are_many(self) -> bool:
        """Whether there is anyone to exchange anything with."""
        return self.share.num_ranks > 1

    def wait(self) -> None:
        """Until every rank is here."""
        if self.are_many:
            distributed.all_reduce(torch.zeros(1))

    def join_embeddings(self, embedded: Embedded, own: OwnAnchors | None) -> Embedded:
        """The embeddings [A, E] of all anchors from each rank's own, with gradient."""
        if not self.are_many:
            return embedded
        assert own is not None
        joined_AE = _JoinRows.apply(embedded.embeddings, own.rows, own.num_anchors)
        return replace(embedded, embeddings=joined_AE)

    def backward(self, loss: Tensor, embeddings_AE: Tensor) -> None:
        """Gradients of this rank's share of the loss; every rank takes part, also one whose loss reads no embedding."""
        if self.are_many:
            loss = loss + 0.0 * embeddings_AE.sum()
        loss.backward()

    def add_up(self, parameters: list[nn.Parameter], losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add up the gradients, in place, and the losses of all ranks; bit for bit the same on each of them.

        A parameter that no rank has a gradient for keeps none: the optimizer leaves it alone, as in one process.
        """
        if not self.are_many:
            return losses
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        has_gradient = gradients[0].new_tensor([p.grad is not None for p in parameters])
        flat = torch.cat([*(g.flatten() for g in gradients), has_gradient, torch.stack(list(losses.values())).detach()])
        distributed.all_reduce(flat)
        *summed, has_gradient, values = flat.split([*(p.numel() for p in parameters), len(parameters), len(losses)])
        for parameter, gradient, has in zip(parameters, summed, has_gradient.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter) if has else None
        return dict(zip(losses, values, strict=True))

    def join_rows(self, num: int, make: Callable[[int, int], NDArray[np.float32]]) -> NDArray[np.float32]:
        """The rows `make(0, num)`, float32, of which each rank makes a range."""
        own = self.share.of(num)
        rows = make(own.start, own.stop)
        if not self.are_many:
            return rows
        width = torch.tensor(rows.shape[1])  # a rank without rows does not know it
        distributed.all_reduce(width, distributed.ReduceOp.MAX)
        joined = np.zeros((num, int(width)), np.float32)
        if len(rows):
            joined[own] = rows
        distributed.all_reduce(torch.from_numpy(joined))
        return joined

    def ask_first(self, answer: bool) -> bool:
        """The first rank's answer, on every rank."""
        return self.agree({"answer": float(answer)})["answer"] != 0

    def share_bytes(self, content: bytes) -> bytes:
        """The first rank's bytes, on every rank."""
        if not self.are_many:
            return content
        size = int(self.agree({"size": float(len(content))})["size"])
        if size == 0:
            return b""
        sent = torch.frombuffer(bytearray(content), dtype=torch.uint8) if self.is_first else None
        shared = torch.empty(size, dtype=torch.uint8) if sent is None else sent
        distributed.broadcast(shared, src=0)
        return content if self.is_first else shared.numpy().tobytes()

    def check_alike(self, text: str, difference: str) -> None:
        """Stop every rank unless all have the same text.

        Raises:
            OmnisageError: they have not; with the difference as the message.
        """
        is_alike = torch.tensor([self.share_bytes(text.encode()) == text.encode()], dtype=torch.int32)
        if self.are_many:
            distributed.all_reduce(is_alike, distributed.ReduceOp.MIN)
        if not is_alike:
            raise OmnisageError(difference)

    def agree(self, values: dict[str, float]) -> dict[str, float]:
        """The first rank's values, by the same names: what decides when to stop must be the same everywhere."""
        if not self.are_many or not values:
            return values
        numbers = torch.tensor(list(values.values()), dtype=torch.float64)
        distributed.broadcast(numbers, src=0)
        return dict(zip(values, numbers.tolist(), strict=True))


ALONE = Ranks()


class _JoinRows(torch.autograd.Function):
    """Rows of all ranks in one tensor; backward adds up what every rank has for a row, and gives each rank its own.

    As sums over tensors that are 0 elsewhere: shares may be of any size, also empty, and gloo and NCCL do the same.
    What is sent is twice an all-gather's, of megabytes that stand beside all gradients of the model.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, rows: Tensor, num_rows: int) -> Tensor:
        ctx.save_for_backward(rows)
        joined = own.new_zeros((num_rows, *own.shape[1:])).index_copy_(0, rows, own)
        distributed.all_reduce(joined)
        return joined

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (rows,) = ctx.saved_tensors
        gradient = upstream[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient[rows], None, None


@contextmanager
def join_ranks(launch: Launch, device: torch.device, *, timeout_s: float) -> Generator[Ranks]:
    """Meet the other processes of `torchrun`: over gloo, for tensors on a GPU over NCCL.

    A process that ends closes its connections, and the others fail at once; one whose host vanishes is given up after
    `timeout_s` seconds.
    """
    if launch.num_ranks == 1:
        yield ALONE
        return
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    try:
        yield Ranks(Share(launch.rank, launch.num_ranks))
    finally:
        distributed.destroy_process_group()
