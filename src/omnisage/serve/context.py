"""What every route starts from: the state of its request, and the limits it keeps to."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import Depends, Request
from numpy.typing import NDArray

from omnisage.catalog import Id
from omnisage.embeddings.online import Online
from omnisage.errors import OmnisageError
from omnisage.schema import unknown_name
from omnisage.serve.config import LimitsConfig, ServeConfig
from omnisage.serve.errors import ApiError
from omnisage.serve.holder import Holder
from omnisage.serve.schemas import EntityRef, Hit
from omnisage.serve.state import Served


@dataclass(frozen=True)
class Context:
    """A request's state and limits, with what routes do to ids."""

    served: Served
    limits: LimitsConfig

    def entity(self, entity_type: str, external: Id) -> int:
        """The dense id of an entity, or an answer of 404."""
        try:
            return self.served.catalog.entity(entity_type, external)
        except OmnisageError as error:
            raise ApiError(404, "unknown_type", str(error), "see /v1/info for what there is") from None
        except KeyError:
            text = f"'{entity_type}' has no id {external!r}"
            raise ApiError(
                404, "unknown_entity", text, "look it up with /v1/search, or embed it with /v1/embed"
            ) from None

    def entity_or_row(self, entity_type: str, external: Id | None, row: int | None) -> int:
        """The dense id of an entity by one of both, or an answer of 404 or 422."""
        if (external is None) == (row is None):
            raise ApiError(422, "invalid_request", "give either id or row", "see /openapi.json for what is allowed")
        if external is not None:
            return self.entity(entity_type, external)
        num_entities = self.served.catalog.tables.num_entities[self.check_type(entity_type)]
        if row is None or row >= num_entities:
            text = f"'{entity_type}' has no row {row}; it has {num_entities:,} entities"
            raise ApiError(404, "unknown_entity", text, "rows count from 0")
        return row

    def user(self, sequence: str, external: Id) -> int:
        """The dense id of a user, or an answer of 404."""
        self.check_sequence(sequence)
        try:
            return self.served.catalog.user(sequence, external)
        except KeyError:
            text = f"'{sequence}' has no user {external!r}"
            raise ApiError(404, "unknown_user", text, "post the user's events instead") from None

    def online(self) -> Online:
        """What embeds new entities and users, or an answer of 409."""
        if self.served.online is None:
            text = "a model of two hops cannot embed what the tables do not have"
            raise ApiError(409, "not_embeddable", text, "train with model.num_hops: 1")
        return self.served.online

    def check_sequence(self, sequence: str) -> str:
        """The type that a sequence's events are about, or an answer of 404."""
        sequences = self.served.catalog.tables.sequences
        if sequence not in self.served.embeddings.users:
            text = unknown_name("sequence", sequence, list(self.served.embeddings.users))
            raise ApiError(404, "unknown_sequence", text, "see /v1/info for what there is")
        return sequences[sequence].entity

    def check_type(self, entity_type: str) -> str:
        """The type, or an answer of 404."""
        try:
            self.served.catalog.ids_of(entity_type)
        except OmnisageError as error:
            raise ApiError(404, "unknown_type", str(error), "see /v1/info for what there is") from None
        return entity_type

    def check_limit(self, what: str, number: int, limit: int) -> int:
        """The number, or an answer of 422."""
        if number > limit:
            text = f"{what} is {number:,}; this service allows {limit:,}"
            raise ApiError(422, "limit_exceeded", text, "ask for less, or raise serve.limits in the service's config")
        return number

    def ref(self, entity_type: str, entity: int) -> EntityRef:
        """An entity with its own id and name."""
        catalog = self.served.catalog
        return EntityRef(
            type=entity_type, id=catalog.external(entity_type, entity), name=catalog.name(entity_type, entity)
        )

    def hits(self, entity_type: str, scores: NDArray[np.float32], entities: NDArray[np.uint32]) -> list[Hit]:
        """What a search found, [k] each; places that are empty are left out."""
        catalog = self.served.catalog
        num_entities = catalog.tables.num_entities[entity_type]
        return [
            Hit(
                type=entity_type,
                id=catalog.external(entity_type, entity),
                name=catalog.name(entity_type, entity),
                score=score,
                columns=catalog.values(entity_type, entity),
            )
            for score, entity in zip(scores.tolist(), entities.tolist(), strict=True)
            if entity < num_entities  # neither an empty place, nor added to the index without an id of the user's
        ]


def _make_context(request: Request) -> Context:
    holder: Holder = request.app.state.holder
    config: ServeConfig = request.app.state.config
    return Context(holder.current, config.limits)


Given = Annotated[Context, Depends(_make_context)]
"""A route's context, given by FastAPI."""
