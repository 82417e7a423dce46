"""The epoch loop that every method shares: SGD with momentum, non-finite losses stopped, state kept between epochs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cimbench.datasets.errors import InputError
from cimbench.datasets.randomness import generator
from cimbench.datasets.stream.augment import AugmentParameters, augment
from cimbench.datasets.stream.epoch_order import EpochSampler
from cimbench.methods.compression.compressor import Compressor, EpochDone
from cimbench.methods.errors import NonFiniteLossError
from cimbench.methods.losses import Loss
from cimbench.methods.networks.network import Network
from cimbench.methods.training.checkpoints import State
from cimbench.methods.training.draws import Draws
from cimbench.methods.training.recipe import FIRST, TrainingParameters, rate_factor
from cimbench.methods.training.task import BatchReport, EpochReport, Task
from cimbench.methods.training.trainer_state import restore, state_of


def train(
    network: Network,
    loss: Loss,
    task: Task,
    training: TrainingParameters,
    augmentation: AugmentParameters,
    seed: int,
    stage: str = FIRST,
) -> None:
    """Optimise `network` on the task by `loss(augmented images, labels)`; raises NonFiniteLossError.

    stage: names the random streams of a second training in the same phase.
    """
    if len(task.pool) < 2:
        raise InputError(f"phase {task.phase + 1} has {len(task.pool)} image to learn from; give it two or more")
    trainer = Trainer(network, loss, task, training, augmentation, seed, stage)
    if stage in task.progress.states:
        restore(trainer, task.progress.states[stage])
        trainer.report_epochs_done()
    network.train()
    with compiled(network, training.compile):
        while len(trainer.losses) < trainer.epochs:
            trainer.run_epoch()
            task.progress.after_epoch(stage, len(trainer.losses), trainer.epochs, trainer.state)
    network.eval()
    for name, value in network.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise NonFiniteLossError(f"{name} is not finite after phase {task.phase + 1}", task.phase)


@contextmanager
def compiled(network: Network, wanted: bool) -> Iterator[None]:
    """Run the network's branches through torch.compile within the block, or as they are.

    The head is left out: it grows, and every size would be compiled anew.
    """
    branches = list(network.branches)
    if wanted:  # the compiler has a switch of its own for determinism, which this sets too
        torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())
    before = [branch._compiled_call_impl for branch in branches]  # torch has no way back of its own
    for branch in branches:
        branch._compiled_call_impl = None
        if wanted:
            branch.compile(dynamic=True)  # one graph for all sizes of batches
    try:
        yield
    finally:
        for branch, call in zip(branches, before, strict=True):
            branch._compiled_call_impl = call


class Trainer:
    """One training of a network on a task, epoch after epoch; its state is all that the rest of it depends on."""

    def __init__(
        self,
        network: Network,
        loss: Loss,
        task: Task,
        training: TrainingParameters,
        augmentation: AugmentParameters,
        seed: int,
        stage: str,
    ) -> None:
        self.network, self.loss, self.task, self.stage = network, loss, task, stage
        self.training, self.augmentation = training, augmentation
        self.epochs = training.epochs_in(task.phase)
        self.losses: list[float] = []  # one an epoch done
        self.trainable = [p for p in network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.SGD(
            self.trainable, training.learning_rate, momentum=training.momentum, weight_decay=training.weight_decay
        )
        self.seed, self.purpose = seed, (task.phase,) if stage == FIRST else (task.phase, stage)
        self.sampler = EpochSampler(
            count=len(task.pool), batch_size=training.batch_size, seed=seed, purpose=("order", *self.purpose)
        )
        self.random = self._stream("augment", 0)
        self.batch_losses: list[Tensor] = []  # of the epoch that goes on, still on the device

    def _stream(self, purpose: str, epoch: int) -> torch.Generator:
        """The epoch's random numbers for one purpose, on the pool's device."""
        return generator(self.seed, purpose, *self.purpose, epoch, device=self.task.pool.device)

    def run_epoch(self) -> None:
        """Learn from every image once, at this epoch's rate, or from those that are left of it; report to the task."""
        epoch, task, training = len(self.losses), self.task, self.training
        for group in self.optimiser.param_groups:
            group["lr"] = training.learning_rate * rate_factor(training, epoch, self.epochs)
        if not self.batch_losses:
            self._begin(epoch)
        task.pool.draw_augmented(generator(self.seed, "artifacts worn", *self.purpose, epoch))
        batches = self.sampler.batches(epoch)
        for images, labels in task.pool.batches(batches[len(self.batch_losses) :]):
            self.batch_losses.append(self.step(self.augmented(images), labels))
            self._report_batch(epoch, len(batches))
            if len(self.batch_losses) < len(batches):
                task.progress.after_batch(self.stage, len(self.batch_losses), self.state)
        self._finish_epoch(torch.stack(self.batch_losses))
        self.batch_losses = []
        if self.stage == FIRST and task.compressor is not None:
            self._let_compressor_learn(task.compressor, epoch)
        self._report(epoch)

    def _begin(self, epoch: int) -> None:
        """What an epoch starts with: random numbers of its own, and what new images are shown as."""
        self.random = self._stream("augment", epoch)
        # a second training has the artifacts of the first one; the last epoch makes none, as published
        if self.stage == FIRST and epoch < self.epochs - 1:
            with compiled(self.network, False):  # boxes are read in another mode than is learnt
                self.task.pool.refresh(epoch, self.network)

    def _let_compressor_learn(self, compressor: Compressor, epoch: int) -> None:
        """Once more through what was learnt, with batches of random streams of their own."""
        order = generator(self.seed, "mask order", *self.purpose, epoch)
        random = self._stream("mask augment", epoch)
        pool = self.task.pool.without_artifacts() if compressor.draws_whole_images else self.task.pool
        draw = Draws(pool, self.augmentation, order, random, self.network.input_side)
        done = EpochDone(
            phase=self.task.phase,
            epoch=epoch,
            epochs=self.epochs,
            new_classes=self.task.total_classes - self.task.old_classes,
            rate=self.optimiser.param_groups[0]["lr"],
            draw=draw,
        )
        with compiled(self.network, False):  # torch.compile knows no second derivatives
            compressor.after_epoch(self.network, self.loss, done)

    def augmented(self, images: Tensor) -> Tensor:
        """A batch of the pool (B, 3, S, S) uint8, cropped, flipped and normalised."""
        return augment(images, self.augmentation, self.random, self.network.input_side)

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step on a batch; its loss, still on the device."""
        lower = self.training.precision == "bfloat16"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=lower):
            value = self.loss(images, labels)
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        if self.training.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.trainable, self.training.gradient_clip)
        self.optimiser.step()
        return value.detach()

    def _finish_epoch(self, losses: Tensor) -> None:
        """Read the batches' losses from the device, once; raises NonFiniteLossError at the first bad batch."""
        finite = torch.isfinite(losses)
        if not bool(finite.all()):
            batch, phase = int((~finite).long().argmax()), self.task.phase
            where = f"phase {phase + 1}, epoch {len(self.losses) + 1}, batch {batch + 1}"
            raise NonFiniteLossError(f"the loss is {float(losses[batch])} in {where}", phase)
        self.losses.append(float(losses.mean()))

    def _report_batch(self, epoch: int, batches: int) -> None:
        where = {"phase": self.task.phase, "stage": self.stage, "epoch": epoch, "epochs": self.epochs}
        self.task.on_batch(BatchReport(**where, done=len(self.batch_losses), batches=batches))  # type: ignore[arg-type]

    def _report(self, epoch: int) -> None:
        self.task.on_epoch(
            EpochReport(
                phase=self.task.phase, stage=self.stage, epoch=epoch, epochs=self.epochs, loss=self.losses[epoch]
            )
        )

    def report_epochs_done(self) -> None:
        """Report the epochs of an earlier attempt again."""
        for epoch in range(len(self.losses)):
            self._report(epoch)

    def state(self) -> State:
        """See trainer_state."""
        return state_of(self)
