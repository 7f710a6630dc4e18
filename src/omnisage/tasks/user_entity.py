"""User-entity: the user after each event finds the next entity, and one of the future (OmniSage Eqs. 4, 5).

Gradients flow through the events into the embedders.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from omnisage.model.modules import Modules
from omnisage.model.sequence import UserModel
from omnisage.tasks.config import UserEntityConfig
from omnisage.tasks.softmax import InverseTemperature
from omnisage.tasks.task import Step


class UserEntity(nn.Module):
    """Next and future action of every sequence."""

    def __init__(self, entities: dict[str, str], user_models: Mapping[str, UserModel], config: UserEntityConfig):
        """Args: the entity type that each sequence is about, and what makes users of its events."""
        super().__init__()
        self.weight = config.weight
        self.future_weight = config.future_weight
        self.entities = entities
        # Their weights belong to the model, not to the task, so this is no `torch.nn.ModuleDict`.
        self._user_models = dict(user_models)
        self.next_scales = Modules({name: InverseTemperature() for name in entities})
        self.future_scales = Modules({name: InverseTemperature() for name in entities})

    def losses(self, step: Step) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, rows in step.batch.sequences.items():
            target = self.entities[name]
            model = self._user_models[name]
            events_BLE = functional.embedding(rows.events_BL, step.embedded.embeddings)
            users_BLE = model(
                events_BLE,
                rows.actions_BL,
                rows.pauses_BL,
                surfaces_BL=rows.surfaces_BL,
                times_BL=rows.times_BL,
                lengths_B=rows.lengths_B,
            )
            users_PE = users_BLE.flatten(0, 1)
            candidates_CE = step.candidates(target)
            following = step.softmax(
                target,
                functional.embedding(rows.next_queries_P, users_PE),
                candidates_CE,
                rows.next_columns_P,
                self.next_scales[name](),
                seen=rows.next_seen,
                extra=rows.next_impressions,
            )
            found[f"{name}_next"] = self.weight * following * (len(rows.next_columns_P) / max(rows.num_next, 1))
            if self.future_weight > 0:
                future = step.softmax(
                    target,
                    functional.embedding(rows.future_queries_P, users_PE),
                    candidates_CE,
                    rows.future_columns_P,
                    self.future_scales[name](),
                    seen=rows.future_seen,
                )
                share = len(rows.future_columns_P) / max(rows.num_future, 1)
                found[f"{name}_future"] = self.weight * self.future_weight * future * share
        return found
