"""One training: epochs, the inner validation's choice among them, resumed when interrupted."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from models.errors import UserError
from models.recognition.metrics import figures
from models.recognition.recipe import Batch, Prediction, Recipe
from models.recognition.samples import Floats, Ints, Samples

_EVAL_BATCH = 64
_EPS = 1e-12
_UNREADABLE = (
    *(OSError, EOFError, pickle.UnpicklingError, RuntimeError),
    *(KeyError, ValueError, TypeError, AttributeError),
)


class Log(Protocol):
    """Hears what happens in an epoch: TensorBoard, a progress bar."""

    def __call__(self, epoch: int, values: Mapping[str, float]) -> None:
        """``epoch`` (from 1) is over; ``values`` by name."""
        ...


@dataclass(frozen=True)
class Answers:
    """What a network said of some samples."""

    probabilities: Floats  # (n, classes)
    aus: Floats | None  # (n, K)


@dataclass(frozen=True)
class Epoch:
    """What is known after one epoch."""

    validation_uf1: float
    validation_loss: float  # mean negative log-likelihood
    loss: float


@dataclass
class Trained:
    """A finished training."""

    state: dict[str, Tensor]  # of the chosen epoch
    epoch: int  # chosen, from 1
    history: list[Epoch] = field(default_factory=list)
    tests: list[Answers] = field(default_factory=list)  # of every epoch; empty: not asked for
    validation: Answers | None = None  # of the chosen epoch


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of samples. ``test`` is looked at, never chosen by."""

    train: Ints
    validation: Ints
    test: Ints


def seed_of(seed: int, name: str) -> int:
    """A fold's own seed, the same on every machine."""
    return zlib.crc32(f"{seed} {name}".encode()) & 0x7FFFFFFF


class _Data:
    """The samples as tensors on the device."""

    def __init__(self, samples: Samples, recipe: Recipe, device: torch.device) -> None:
        self.inputs = {
            name: torch.from_numpy(np.ascontiguousarray(samples.inputs[name]))
            for name in recipe.inputs
        }
        self.labels = torch.from_numpy(samples.labels)
        self.aus = torch.from_numpy(samples.multi_hot(recipe.aus))
        self.device = device

    def batch(self, rows: Tensor, variants: Tensor) -> Batch:
        return Batch(
            {name: values[rows, variants].to(self.device) for name, values in self.inputs.items()},
            self.labels[rows].to(self.device),
            self.aus[rows].to(self.device),
        )

    def plain(self, rows: Ints) -> Batch:
        chosen = torch.from_numpy(rows)
        return self.batch(chosen, torch.zeros_like(chosen))


def answers(network: nn.Module, recipe: Recipe, samples: Samples, rows: Ints) -> Answers:
    """What ``network`` says of the samples ``rows``, in their order."""
    device = next(network.parameters()).device
    return _answers(network, recipe, _Data(samples, recipe, device), rows)


def _answers(network: nn.Module, recipe: Recipe, data: _Data, rows: Ints) -> Answers:
    network.eval()
    found: list[Prediction] = []
    with torch.inference_mode():
        for begin in range(0, len(rows), _EVAL_BATCH):
            batch = data.plain(rows[begin : begin + _EVAL_BATCH])
            found.append(recipe.predict(network, batch.inputs))
    aus = [p.aus.cpu() for p in found if p.aus is not None]
    return Answers(
        torch.cat([p.probabilities.cpu() for p in found]).numpy(),
        torch.cat(aus).numpy() if aus else None,
    )


class Training:
    """Trains one network on one split.

    Deterministic by ``seed`` on one machine; continued from ``checkpoint`` where that exists.

    Args:
        recipe: the network.
        samples: everything.
        split: who is trained on, who validates, who is tested.
        seed: of the initialisation and of every draw.
        checkpoint: file kept up to date after each epoch; None: not resumable.
        watch_test: keep the answers on the test samples after every epoch.
        device: "cpu" or "cuda".

    Raises:
        UserError: the checkpoint is not of this training.
    """

    def __init__(
        self,
        recipe: Recipe,
        samples: Samples,
        split: Split,
        seed: int = 0,
        checkpoint: Path | None = None,
        watch_test: bool = False,
        device: str = "cpu",
    ) -> None:
        variants = samples.variants if recipe.augmented else 1
        if len(split.train) * variants < 2 or not len(split.validation):
            raise UserError("too few samples: two to train on and one to validate are needed")
        self._recipe = recipe
        self._samples = samples
        self._split = split
        self._watch_test = watch_test
        self._checkpoint = checkpoint
        self._data = _Data(samples, recipe, torch.device(device))
        torch.manual_seed(seed)
        self.network = recipe.network().to(device)
        self._optimiser, self._schedule = recipe.optimiser(self.network)
        self._draw = torch.Generator().manual_seed(seed)
        self._pool = self._data.plain(split.train)
        labels = torch.from_numpy(samples.labels[split.train])
        self._counts = torch.bincount(labels, minlength=len(recipe.classes)).to(device)
        self._done = Trained({}, 0)
        self._resume()

    @property
    def epochs_done(self) -> int:
        """Epochs behind, also those of an earlier run."""
        return len(self._done.history)

    def run(self, log: Log = lambda epoch, values: None) -> Trained:
        """Train to the recipe's last epoch.

        Returns:
            The epoch with the best UF1 on the validating subjects (the lower loss where two
            are equal) and everything seen on the way.
        """
        while self.epochs_done < self._recipe.epochs:
            parts = self._epoch()
            self._judge(parts["loss"])
            self._save()
            last = self._done.history[-1]
            log(
                self.epochs_done,
                {
                    **parts,
                    "validation/uf1": last.validation_uf1,
                    "validation/loss": last.validation_loss,
                },
            )
        return self._done

    def _epoch(self) -> dict[str, float]:
        """One pass over the training samples; the mean of every part of the loss."""
        self.network.train()
        sums: dict[str, float] = {}
        seen = 0
        for rows, variants in self._order():
            batch = self._recipe.augment(self._data.batch(rows, variants), self._pool, self._draw)
            self._optimiser.zero_grad(set_to_none=True)
            loss, parts = self._recipe.loss(self.network, batch, self._counts)
            if not torch.isfinite(loss):
                raise UserError(
                    f"the loss is not finite after {self.epochs_done} epochs; lower the learning "
                    "rate"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            seen += len(rows)
            for name, value in {"loss": float(loss.detach()), **parts}.items():
                sums[name] = sums.get(name, 0.0) + value * len(rows)
        if self._schedule is not None:
            self._schedule.step()
        return {name: total / seen for name, total in sums.items()}

    def _order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (sample, variant); a last batch of one is left out (batch norm)."""
        variants = self._samples.variants if self._recipe.augmented else 1
        train = torch.from_numpy(self._split.train)
        order = torch.randperm(len(train) * variants, generator=self._draw)
        for chosen in torch.split(order, self._recipe.batch_size):
            if len(chosen) > 1:
                yield train[chosen // variants], chosen % variants

    def _judge(self, loss: float) -> None:
        rows = self._split.validation
        said = _answers(self.network, self._recipe, self._data, rows)
        labels = self._samples.labels[rows]
        uf1 = figures(
            labels, said.probabilities.argmax(axis=1).astype(np.int64), len(self._recipe.classes)
        ).uf1
        likely = np.clip(said.probabilities[np.arange(len(rows)), labels], _EPS, None)
        now = Epoch(uf1, float(-np.log(likely).mean()), loss)
        done = self._done
        done.history.append(now)
        if self._watch_test:
            done.tests.append(_answers(self.network, self._recipe, self._data, self._split.test))
        best = done.history[done.epoch - 1] if done.epoch else None
        if best is None or (uf1, -now.validation_loss) > (
            best.validation_uf1,
            -best.validation_loss,
        ):
            done.epoch = len(done.history)
            done.validation = said
            done.state = {
                name: value.detach().cpu().clone()
                for name, value in self.network.state_dict().items()
            }

    # ------------------------------------------------------------ resuming

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        part = self._checkpoint.with_suffix(".part")
        torch.save(self._state(), part)
        part.replace(self._checkpoint)

    def _state(self) -> dict[str, Any]:
        done = self._done
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "draw": self._draw.get_state(),
            "torch": torch.get_rng_state(),
            "best": done.state,
            "epoch": done.epoch,
            "history": [(e.validation_uf1, e.validation_loss, e.loss) for e in done.history],
            "tests": [_packed(said) for said in done.tests],
            "validation": None if done.validation is None else _packed(done.validation),
        }

    def _resume(self) -> None:
        if self._checkpoint is None or not self._checkpoint.exists():
            return
        try:
            found = torch.load(self._checkpoint, weights_only=True)
            self.network.load_state_dict(found["network"])
            self._optimiser.load_state_dict(found["optimiser"])
            if self._schedule is not None:
                self._schedule.load_state_dict(found["schedule"])
            self._draw.set_state(found["draw"])
            torch.set_rng_state(found["torch"])
            self._done = Trained(
                found["best"],
                found["epoch"],
                [Epoch(*values) for values in found["history"]],
                [_unpacked(said) for said in found["tests"]],
                None if found["validation"] is None else _unpacked(found["validation"]),
            )
        except _UNREADABLE as error:
            reason = " ".join(str(error).split())[:120]
            raise UserError(
                f"{self._checkpoint}: not a checkpoint of this training ({reason}); delete it or "
                "use another --out"
            ) from None


def _packed(said: Answers) -> tuple[Tensor, Tensor | None]:
    aus = None if said.aus is None else torch.from_numpy(said.aus)
    return torch.from_numpy(said.probabilities), aus


def _unpacked(pair: tuple[Tensor, Tensor | None]) -> Answers:
    return Answers(pair[0].numpy(), None if pair[1] is None else pair[1].numpy())
