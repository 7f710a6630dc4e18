/** What an embedding was made of: the entity itself and its graph neighbors, by the attention they got. */

import { type Entity, type Explanation, explain, type Neighbor } from "../api";
import { cssOf, typeColor } from "../color";
import { useInfo } from "../context";
import { label, percent } from "../format";
import { useLoad } from "../load";
import { Bar } from "../parts/bar";
import { EntityLink, TypeMark } from "../parts/entity";
import { useLimited } from "../parts/limited";
import { Empty, Failure, Skeleton } from "../parts/state";
import { joinRef } from "../route";

const NUM_AT_FIRST = 12;

export function Neighborhood({ entity }: { entity: Entity }) {
  const load = (signal: AbortSignal) => explain(entity, undefined, signal);
  const { data, error, loading, retry } = useLoad(joinRef(entity), load);
  return (
    <section class="card" aria-labelledby="neighborhood">
      <h2 id="neighborhood">Neighborhood</h2>
      <p class="soft">Its neighbors in the graph, by the attention that its embedding pays to them.</p>
      {error ? (
        <Failure error={error} retry={retry} />
      ) : data ? (
        <Weights explanation={data} busy={loading} />
      ) : (
        <Skeleton rows={NUM_AT_FIRST + 1} label="neighborhood" />
      )}
    </section>
  );
}

function Weights({ explanation, busy }: { explanation: Explanation; busy: boolean }) {
  const { self_weight, own, entity } = explanation;
  const neighbors = [...explanation.neighbors].sort((one, other) => other.weight - one.weight);
  const most = Math.max(self_weight, neighbors[0]?.weight ?? 0);
  const [shown, more] = useLimited(neighbors, NUM_AT_FIRST);
  return (
    <>
      <ul class="list" aria-busy={busy}>
        <Weight neighbor={{ ...entity, relations: [], weight: self_weight }} most={most} itself={partsOf(own)} />
        {shown.map((neighbor) => (
          <Weight key={joinRef(neighbor)} neighbor={neighbor} most={most} />
        ))}
      </ul>
      {!neighbors.length && <Empty>It has no neighbors in the graph.</Empty>}
      {more}
    </>
  );
}

/** What of an entity's own its embedding attends to, from the most on. */
function partsOf(own: Explanation["own"]): string {
  const parts = [...own].sort((one, other) => other.weight - one.weight);
  return parts.map(({ feature, weight }) => `${label(feature)} ${percent(weight)}`).join(" · ");
}

function Weight({ neighbor, most, itself }: { neighbor: Neighbor; most: number; itself?: string }) {
  const color = cssOf(typeColor(useInfo().types, neighbor.type));
  const relations = neighbor.relations.map(label).join(", ");
  return (
    <li class="row">
      <span class="named">
        {itself === undefined ? <EntityLink entity={neighbor} /> : <em>itself</em>}
        {itself === undefined ? (
          <small>
            <TypeMark type={neighbor.type} /> · {relations || "by a walk"}
          </small>
        ) : (
          <small>{itself}</small>
        )}
      </span>
      <Bar share={most > 0 ? neighbor.weight / most : 0} text={percent(neighbor.weight)} color={color} />
    </li>
  );
}
