"""The whole model: embedders of entities, and a sequence model per kind of sequence."""

from torch import nn

from omnisage.batches.description import ModelDescription
from omnisage.model.config import ModelConfig
from omnisage.model.embedder import EntityEmbedders
from omnisage.model.modules import Modules
from omnisage.model.sequence import SequenceModel


class Model(nn.Module):
    """What training learns and the `embeddings` stage runs; the tasks' own parameters are beside it."""

    def __init__(self, description: ModelDescription, config: ModelConfig):
        super().__init__()
        self.embedders = EntityEmbedders(description, config)
        self.sequences = Modules({s: SequenceModel(n, config) for s, n in description.sequences.items()})
