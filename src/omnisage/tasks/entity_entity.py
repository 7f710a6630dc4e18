"""Entity-entity: an entity finds the entities it is paired with (OmniSage Eq. 2)."""

from torch import Tensor, nn
from torch.nn import functional

from omnisage.model.modules import Modules
from omnisage.tasks.config import EntityEntityConfig
from omnisage.tasks.softmax import InverseTemperature
from omnisage.tasks.task import Step


class EntityEntity(nn.Module):
    """Pairs from relations and pair logs, one softmax per target type."""

    def __init__(self, types: list[str], config: EntityEntityConfig):
        super().__init__()
        self.weight = config.weight
        self.scales = Modules({t: InverseTemperature() for t in types})

    def losses(self, step: Step) -> dict[str, Tensor]:
        pairs = step.batch.pairs
        num_pairs = sum(rows.num_all for rows in pairs.values())
        total: Tensor | None = None
        for target, rows in pairs.items():
            queries_PE = functional.embedding(rows.queries_P, step.embedded.embeddings)
            loss = step.softmax(
                target, queries_PE, step.candidates(target), rows.columns_P, self.scales[target](), extra=rows.hard
            )
            loss = loss * (len(rows.columns_P) / num_pairs)
            total = loss if total is None else total + loss
        return {} if total is None else {"entity_entity": self.weight * total}
