"""What is trained, put together: model, tasks and optimizer, with their state as one flat dictionary."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omnisage.batches.description import ModelDescription
from omnisage.errors import OmnisageError
from omnisage.launch import Launch
from omnisage.model.model import Model
from omnisage.optimizer import MovingAverage, build_optimizer
from omnisage.tasks.config import MatryoshkaConfig, TasksConfig
from omnisage.tasks.entity_entity import EntityEntity
from omnisage.tasks.entity_feature import EntityFeature
from omnisage.tasks.softmax import PositiveStream
from omnisage.tasks.task import Task
from omnisage.tasks.user_entity import UserEntity
from omnisage.training.config import LearningConfig


@dataclass(frozen=True)
class Learner:
    """Everything that changes from step to step."""

    model: Model
    tasks: dict[str, Task]
    task_modules: nn.ModuleDict  # the same tasks, as the owner of their parameters
    stream: PositiveStream
    optimizer: torch.optim.AdamW
    average: MovingAverage
    device: torch.device
    matryoshka: MatryoshkaConfig | None = None

    def parameters(self) -> list[nn.Parameter]:
        """All parameters, the model's and the tasks', in a fixed order."""
        return [*self.model.parameters(), *self.task_modules.parameters()]

    def state(self) -> dict[str, Tensor]:
        """All of it, by name; tensors only."""
        state = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        state |= {f"tasks.{name}": value for name, value in self.task_modules.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        state |= {f"average.{number}": value for number, value in enumerate(self.average.values)}
        # Counts stay far below 2^63; safetensors' bindings take the signed type.
        state |= {f"stream.{t}": torch.from_numpy(table.view("int64")) for t, table in self.stream.tables.items()}
        return state

    def restore(self, state: dict[str, Tensor], totals: dict[str, int]) -> None:
        """Go on from a `state` and the totals of its stream."""
        self.model.load_state_dict(_below("model.", state))
        self.task_modules.load_state_dict(_below("tasks.", state))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below("optimizer.", state).items():
            number, moment = name.split(".")
            moments.setdefault(int(number), {})[moment] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        averaged = _below("average.", state)
        self.average.values = [averaged[str(number)].to(self.device) for number in range(len(averaged))]
        for entity_type, table in _below("stream.", state).items():
            self.stream.tables[entity_type][:] = table.numpy().view("uint64")
        self.stream.totals.update(totals)


def build_learner(
    description: ModelDescription,
    sequence_entities: dict[str, str],
    num_entities: dict[str, int],
    config: LearningConfig,
    *,
    seed: int,
    device: torch.device,
) -> Learner:
    """A fresh learner; its weights depend on the seed alone."""
    torch.manual_seed(seed)
    model = Model(description, config.model).to(device)
    tasks = _build_tasks(model, description, sequence_entities, config.model.embedding_dim, config.tasks)
    task_modules = nn.ModuleDict({name: task for name, task in tasks.items() if isinstance(task, nn.Module)})
    task_modules.to(device)
    parameters = [*model.parameters(), *task_modules.parameters()]
    optimizer = build_optimizer(
        parameters, learning_rate=config.training.learning_rate, weight_decay=config.training.weight_decay
    )
    stream = PositiveStream(num_entities, seed, config.tasks.log_q)
    average = MovingAverage(parameters, config.training.average_decay)
    return Learner(model, tasks, task_modules, stream, optimizer, average, device, config.tasks.matryoshka)


def _build_tasks(
    model: Model,
    description: ModelDescription,
    sequence_entities: dict[str, str],
    embedding_dim: int,
    config: TasksConfig,
) -> dict[str, Task]:
    """The tasks of a weight above 0. A new task is a line here."""
    encoders = model.embedders.feature_encoders
    tasks: dict[str, Task] = {}
    if config.entity_entity.weight > 0:
        tasks["entity_entity"] = EntityEntity(list(description.types), config.entity_entity)
    if config.entity_feature.weight > 0:
        tasks["entity_feature"] = EntityFeature(description, encoders, embedding_dim, config.entity_feature)
    if config.user_entity.weight > 0 and sequence_entities:
        tasks["user_entity"] = UserEntity(sequence_entities, dict(model.sequences.items()), config.user_entity)
    return tasks


def choose_device(name: str, launch: Launch) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` stands for on this machine; each process of a machine has its own GPU.

    Raises:
        OmnisageError: there is no GPU, or there are fewer than processes.
    """
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and num_gpus == 0):
        return torch.device("cpu")
    if num_gpus < launch.num_local:
        raise OmnisageError(
            f"training.device is '{name}', and {launch.num_local} process(es) of training run on this machine, which "
            f"has {num_gpus} GPU(s); start at most one process per GPU, or set training.device to 'cpu'"
        )
    return torch.device("cuda", launch.local_rank)


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
