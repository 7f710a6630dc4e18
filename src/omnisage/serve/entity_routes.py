"""Routes that say what there is: info, search, one entity."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response

from omnisage import __version__
from omnisage.model.explain import is_explained
from omnisage.serve.context import Context, Given
from omnisage.serve.errors import ApiError
from omnisage.serve.schemas import (
    ColumnInfo,
    Entity,
    Info,
    SearchAnswer,
    SequenceInfo,
    TypeInfo,
    TypeName,
    UserRef,
    UsersAnswer,
)
from omnisage.serve.search import query_words, search_names

router = APIRouter(prefix="/v1", tags=["entities"])


@router.get("/info")
def info(context: Given) -> Info:
    """What is served: entity types with their columns, sequences, and which embeddings."""
    served = context.served
    return Info(
        name=served.name,
        version=__version__,
        embeddings=served.sha256,
        dim=served.dim,
        loaded_at=served.loaded_at,
        types=[_type_info(context, entity_type) for entity_type in served.embeddings.entities],
        sequences=[
            SequenceInfo(
                name=name,
                entity=sequence.entity,
                users=sequence.num_users,
                actions=served.catalog.tables.actions(name) or None,
                surfaces=served.catalog.tables.surfaces(name) or None,
            )
            for name, sequence in served.catalog.tables.sequences.items()
            if name in served.embeddings.users
        ],
        explains=is_explained(served.explainer.trained.config),
        embeds=served.online is not None,
        map=list(found.points) if (found := served.explorer.get()) else [],
    )


@router.get("/search")
def search(
    context: Given,
    q: Annotated[str, Query(max_length=500, description="words of a name, or of an id; none: the best connected")] = "",
    type: Annotated[TypeName | None, Query(description="only of this type")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> SearchAnswer:
    """Entities with words that begin as those of `q`: first those that begin so, then the best connected."""
    served = context.served
    words = query_words(q)
    types = list(served.texts) if type is None else [context.check_type(type)]
    found = [
        (-int(rank), -int(served.catalog.popularity[t][entity]), t, int(entity))
        for t in types
        for entity, rank in zip(*search_names(served.texts[t], words, served.catalog.popularity[t], limit), strict=True)
    ]
    return SearchAnswer(results=[context.ref(t, entity) for _, _, t, entity in sorted(found)[:limit]])


@router.get("/users")
def users(
    context: Given,
    sequence: Annotated[str, Query(max_length=200)],
    q: Annotated[str, Query(max_length=500, description="how the id begins")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> UsersAnswer:
    """Users of a sequence, by how their ids begin."""
    context.check_sequence(sequence)
    found = context.served.catalog.users_beginning_with(sequence, q, limit)
    return UsersAnswer(results=[UserRef(id=id_, events=events) for id_, events in found])


@router.get("/entity")
def entity(
    context: Given,
    type: TypeName,
    id: Annotated[str | None, Query(max_length=1000)] = None,
    row: Annotated[int | None, Query(ge=0, lt=2**32, description="its dense id, instead of its id")] = None,
) -> Entity:
    """All that is known of one entity."""
    dense = context.entity_or_row(type, id, row)
    catalog = context.served.catalog
    return Entity(
        **dict(context.ref(type, dense)),
        columns=catalog.values(type, dense),
        row=dense,
        image=_image_url(context, type, dense),
        degree=catalog.degree(type, dense),
    )


@router.get("/image", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def image(context: Given, type: TypeName, id: Annotated[str, Query(max_length=1000)]) -> Response:
    """The image of an entity, at most 512 pixels wide and high."""
    external = context.served.catalog.external(type, context.entity(type, id))
    found = context.served.images.png(type, external) if type in context.served.images.types else None
    if found is None:
        raise ApiError(404, "no_image", f"'{type}' {external!r} has no image that can be read", "see its 'image'")
    headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(found, media_type="image/png", headers=headers)


def _image_url(context: Context, entity_type: str, entity: int) -> str | None:
    """Where the image of an entity is; None if its table has none."""
    catalog = context.served.catalog
    if entity_type not in context.served.images.types or not catalog.has_image(entity_type, entity):
        return None
    return "/v1/image?" + urlencode({"type": entity_type, "id": catalog.external(entity_type, entity)})


def _type_info(context: Context, entity_type: str) -> TypeInfo:
    catalog = context.served.catalog
    return TypeInfo(
        name=entity_type,
        entities=catalog.tables.num_entities[entity_type],
        columns=[ColumnInfo(name=name, kind=column.kind) for name, column in catalog.columns[entity_type].items()],
        has_image=entity_type in context.served.images.types,
    )
