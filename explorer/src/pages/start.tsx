/** The first page: what is served, and where to begin. */

import { type EntityType, search } from "../api";
import { useInfo } from "../context";
import { count, label } from "../format";
import { useLoad } from "../load";
import { EntityLink, TypeMark } from "../parts/entity";
import { Failure, Skeleton } from "../parts/state";
import { hashOf } from "../route";

const NUM_EXAMPLES = 5;

function TypeCard({ type }: { type: EntityType }) {
  const { data, error, retry } = useLoad(type.name, (signal) => search("", type.name, NUM_EXAMPLES, signal));
  const { map } = useInfo();
  return (
    <li class="card">
      <h2>
        <TypeMark type={type.name} />
      </h2>
      <p class="soft">
        {count(type.entities)} entities
        {map.includes(type.name) && (
          <>
            {" · "}
            <a href={hashOf(["map"], { type: type.name })}>on the map</a>
          </>
        )}
      </p>
      {error ? (
        <Failure error={error} retry={retry} />
      ) : data ? (
        <ul class="plain">
          {data.map((entity) => (
            <li key={entity.id}>
              <EntityLink entity={entity} />
            </li>
          ))}
        </ul>
      ) : (
        <Skeleton rows={Math.min(NUM_EXAMPLES, type.entities)} label={label(type.name)} />
      )}
    </li>
  );
}

export function StartPage() {
  const info = useInfo();
  const entities = info.types.reduce((sum, type) => sum + type.entities, 0);
  return (
    <>
      <header class="intro">
        <h1 tabIndex={-1}>{info.name}</h1>
        <p>
          {count(entities)} entities of {info.types.length} types, {info.dim} dimensions each. Search for one above, or
          begin with what is best known:
        </p>
      </header>
      <ul class="cards">
        {info.types.map((type) => (
          <TypeCard key={type.name} type={type} />
        ))}
      </ul>
    </>
  );
}
