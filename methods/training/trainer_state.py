"""What the rest of a training depends on, as tensors: between epochs, and within one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cimbench.methods.training.checkpoints import State

if TYPE_CHECKING:
    from cimbench.methods.training.trainer import Trainer


def state_of(trainer: Trainer) -> State:
    """Network, momentum, artifacts of new images, the losses of the epochs done; within an epoch also its losses and
    random numbers. The order of batches follows from the seed."""
    pool, compressor = trainer.task.pool, trainer.task.compressor
    state = {f"network.{name}": _kept(value) for name, value in trainer.network.state_dict().items()}
    state |= {f"pool.{name}": value for name, value in pool.state_dict().items()}
    if compressor is not None:
        state |= {f"compressor.{name}": value for name, value in compressor.learning_state().items()}
    state["losses"] = torch.tensor(trainer.losses, dtype=torch.float64)
    if trainer.batch_losses:
        state |= {"batch_losses": _kept(torch.stack(trainer.batch_losses)), "random": trainer.random.get_state()}
    if len(trainer.losses) == trainer.epochs:
        return state
    for number, parameter in enumerate(trainer.trainable):
        momentum = trainer.optimiser.state[parameter].get("momentum_buffer")
        if momentum is not None:
            state[f"momentum.{number}"] = _kept(momentum)
    return state


def restore(trainer: Trainer, state: State) -> None:
    """Go on from a saved state."""
    trainer.network.load_state_dict(_below("network.", state))
    trainer.task.pool.load_state_dict(_below("pool.", state))
    if trainer.task.compressor is not None:
        trainer.task.compressor.load_learning_state(_below("compressor.", state))
    trainer.losses = state["losses"].tolist()
    if len(trainer.losses) == trainer.epochs:
        return
    for number, parameter in enumerate(trainer.trainable):
        if f"momentum.{number}" in state:
            momentum = state[f"momentum.{number}"].to(parameter.device)
            trainer.optimiser.state[parameter]["momentum_buffer"] = momentum.clone()
    if "random" in state:  # stopped within an epoch
        trainer.batch_losses = list(state["batch_losses"].to(trainer.task.pool.device))
        trainer.random.set_state(state["random"].cpu())


def _kept(value: Tensor) -> Tensor:
    """A copy on the CPU."""
    return value.detach().to("cpu", copy=True)


def _below(prefix: str, state: State) -> State:
    """The part of a state whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
