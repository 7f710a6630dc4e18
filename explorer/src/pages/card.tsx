/** An entity's own: its image, its columns, its edges by relation, and where to go from it. */

import type { Entity, Value } from "../api";
import { useInfo } from "../context";
import { compact, count, isEmpty, label, valueText } from "../format";
import { Bar } from "../parts/bar";
import { Picture, TypeMark } from "../parts/entity";
import { hashOf, joinRef } from "../route";
import { historyHash } from "./history";

function ColumnValue({ value }: { value: Value }) {
  if (!Array.isArray(value)) return <>{valueText(value)}</>;
  return (
    <span class="chips">
      {value.map((part) => (
        <span class="chip" key={part}>
          {part}
        </span>
      ))}
    </span>
  );
}

function Degrees({ degree }: { degree: Record<string, number> }) {
  const relations = Object.entries(degree).filter(([, edges]) => edges > 0);
  if (!relations.length) return <p class="soft">No edges: its embedding comes from its content alone.</p>;
  const most = Math.max(...relations.map(([, edges]) => edges));
  return (
    <dl class="rows">
      {relations
        .sort(([, one], [, other]) => other - one)
        .map(([relation, edges]) => (
          <div key={relation}>
            <dt>{label(relation)}</dt>
            <dd>
              <Bar share={edges / most} text={compact(edges)} />
            </dd>
          </div>
        ))}
    </dl>
  );
}

function Ways({ entity, onMap }: { entity: Entity; onMap: boolean }) {
  const { map, sequences } = useInfo();
  const sequence = sequences.find((one) => one.entity === entity.type);
  return (
    <p class="ways">
      {!onMap && map.includes(entity.type) && (
        <a class="button" href={hashOf(["map"], { type: entity.type, at: joinRef(entity) })}>
          Show on the map
        </a>
      )}
      {sequence && (
        <a class="button" href={historyHash({ sequence: sequence.name, steps: [{ id: String(entity.id) }] })}>
          What next?
        </a>
      )}
    </p>
  );
}

export function Card({ entity, onMap = false }: { entity: Entity; onMap?: boolean }) {
  const columns = Object.entries(entity.columns).filter(([, value]) => !isEmpty(value) && value !== entity.name);
  const edges = Object.values(entity.degree).reduce((sum, part) => sum + part, 0);
  return (
    <article class="card entity-card" aria-label={entity.name}>
      <Picture entity={entity} />
      <div>
        <p class="kind">
          <TypeMark type={entity.type} /> <span class="soft">{entity.id}</span>
        </p>
        <h1 tabIndex={-1}>{entity.name}</h1>
      </div>
      <Ways entity={entity} onMap={onMap} />
      {columns.length > 0 && (
        <dl class="columns-of">
          {columns.map(([column, value]) => (
            <div key={column}>
              <dt>{label(column)}</dt>
              <dd>
                <ColumnValue value={value} />
              </dd>
            </div>
          ))}
        </dl>
      )}
      <section aria-label="Edges">
        <h2>
          Edges <span class="soft">{count(edges)}</span>
        </h2>
        <Degrees degree={entity.degree} />
      </section>
    </article>
  );
}
