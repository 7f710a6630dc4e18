/** The entity chosen on the map, beside it: its card and what is nearest. */

import { getEntity, similar, type Entity } from "../api";
import { decimal, label } from "../format";
import { useLoad } from "../load";
import { Card } from "../pages/card";
import { Bar } from "../parts/bar";
import { Failure, Skeleton } from "../parts/state";
import { entityHash, joinRef } from "../route";

const NUM_NEAREST = 8;

interface SelectedProps {
  at?: { type: string; id: string };
  hashAt: (options: Record<string, string | undefined>) => string; // the map as it is, but for some options
  close: () => void;
}

export function Selected({ at, hashAt, close }: SelectedProps) {
  const key = at && joinRef(at);
  const { data: entity, error, retry } = useLoad(key, (signal) => getEntity(at?.type ?? "", at?.id ?? "", signal));
  if (!at) return null;
  return (
    <aside class="selected" aria-label="Chosen on the map">
      <button type="button" class="quiet close" aria-label="Close" onClick={close}>
        ×
      </button>
      {error && <Failure error={error} retry={retry} />}
      {entity ? (
        <>
          <Card entity={entity} onMap />
          <NearestOnMap entity={entity} hashAt={hashAt} />
        </>
      ) : (
        !error && <Skeleton rows={8} label="entity" />
      )}
    </aside>
  );
}

function NearestOnMap({ entity, hashAt }: { entity: Entity; hashAt: SelectedProps["hashAt"] }) {
  const load = (signal: AbortSignal) => similar(entity, entity.type, NUM_NEAREST, signal);
  const { data, loading } = useLoad(joinRef(entity), load);
  return (
    <section class="card" aria-label="Nearest">
      <h2>Nearest {label(entity.type)}</h2>
      <ol class="list" aria-busy={loading}>
        {data?.map((near) => (
          <li class="row" key={near.id}>
            <a href={hashAt({ at: joinRef(near) })}>{near.name}</a>
            <Bar share={near.score} text={decimal(near.score)} />
          </li>
        ))}
      </ol>
      <p>
        <a href={entityHash(entity)}>All about {entity.name}</a>
      </p>
    </section>
  );
}
