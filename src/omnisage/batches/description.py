"""What a model is built for: entity types, their features and neighborhoods, and the sequences."""

from dataclasses import asdict, dataclass
from typing import Any

LOG_DEGREE = "log_degree"


@dataclass(frozen=True)
class FeatureDescription:
    """One feature: its kind, and how many values (category) or numbers (number, vector) it has."""

    kind: str  # text, number, category, vector
    size: int  # category: vocabulary; vector: width + 1 and number: 2, the last says "present"; text: 0
    own: bool = True  # whether it is a token of the entity itself, or only a part of its token as a neighbor
    is_id: bool = False  # a category that no other entity has, and that an entity which training has not seen lacks


@dataclass(frozen=True)
class TypeDescription:
    """One entity type: its features in order, and its neighbor slots."""

    features: dict[str, FeatureDescription]
    num_slots: int
    walk_ends: tuple[int, ...] = ()  # of each walk that fills slots, the one behind its last; the last is `num_slots`

    @property
    def num_own(self) -> int:
        """How many of the features are tokens of the entity itself."""
        return sum(feature.own for feature in self.features.values())


@dataclass(frozen=True)
class SequenceDescription:
    """What events of one sequence have beside entity and time; 0 where they have none."""

    num_actions: int = 0
    num_surfaces: int = 0


@dataclass(frozen=True)
class ModelDescription:
    """Everything, beside the config, that fixes the shapes of the weights. Stored as `model.json`."""

    types: dict[str, TypeDescription]
    sequences: dict[str, SequenceDescription]

    def to_json(self) -> dict[str, Any]:
        """As lists, because the order of types and features matters and JSON objects are written sorted."""
        types = [
            {
                "type": name,
                "features": [
                    {"name": feature} | asdict(of_feature) for feature, of_feature in of_type.features.items()
                ],
                "num_slots": of_type.num_slots,
                "walk_ends": of_type.walk_ends,
            }
            for name, of_type in self.types.items()
        ]
        return {"types": types, "sequences": {name: asdict(sequence) for name, sequence in self.sequences.items()}}

    @staticmethod
    def from_json(stored: dict[str, Any]) -> "ModelDescription":
        """The inverse of `to_json`."""
        types = {
            of_type["type"]: TypeDescription(
                {
                    f["name"]: FeatureDescription(f["kind"], f["size"], f["own"], f["is_id"])
                    for f in of_type["features"]
                },
                of_type["num_slots"],
                tuple(of_type["walk_ends"]),
            )
            for of_type in stored["types"]
        }
        sequences = {name: SequenceDescription(**sequence) for name, sequence in stored["sequences"].items()}
        return ModelDescription(types, sequences)
