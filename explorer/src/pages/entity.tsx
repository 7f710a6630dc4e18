/** An entity's page: its card, what is nearest to it, and what its embedding was made of. */

import { useEffect } from "preact/hooks";
import { getEntity } from "../api";
import { useInfo } from "../context";
import { useLoad } from "../load";
import { Failure, Skeleton } from "../parts/state";
import type { Route } from "../route";
import { Card } from "./card";
import { Nearest } from "./nearest";
import { Neighborhood } from "./neighborhood";

export function EntityPage({ route }: { route: Route }) {
  const { explains, name } = useInfo();
  const key = `${route.type}/${route.id}`;
  const { data: entity, error, loading, retry } = useLoad(key, (signal) => getEntity(route.type, route.id, signal));
  useEffect(() => {
    if (entity) document.title = `${entity.name} · ${name}`;
  }, [entity]);
  if (error) return <Failure error={error} retry={retry} />;
  if (!entity) {
    return (
      <div class="columns">
        <Skeleton rows={12} label="entity" />
        <Skeleton rows={12} label="nearest entities" />
      </div>
    );
  }
  return (
    <div class="columns" aria-busy={loading}>
      <Card entity={entity} />
      <div class="stack">
        <Nearest entity={entity} options={route.options} />
        {explains && <Neighborhood entity={entity} />}
      </div>
    </div>
  );
}
