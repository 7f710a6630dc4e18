/** The entities nearest to one, a tab for each type; under each, on demand, why it is near. */

import { type Entity, type Scored, similar } from "../api";
import { useInfo } from "../context";
import { decimal, label } from "../format";
import { useLoad } from "../load";
import { Bar } from "../parts/bar";
import { EntityLink, TypeMark } from "../parts/entity";
import { Empty, Failure, Skeleton } from "../parts/state";
import { Tabs } from "../parts/tabs";
import { entityHash, joinRef } from "../route";
import { navigate } from "../context";
import { Why } from "./why";

const NUM_NEAREST = 12;

interface NearestProps {
  entity: Entity;
  options: Record<string, string>;
}

export function Nearest({ entity, options }: NearestProps) {
  const { types } = useInfo();
  const to = types.some(({ name }) => name === options.to) ? (options.to as string) : entity.type;
  const choose = (type: string) => navigate(entityHash(entity, { to: type }), true);
  const tabs = types.map(({ name }) => ({ key: name, title: <TypeMark type={name} /> }));
  return (
    <section class="card" aria-labelledby="nearest">
      <h2 id="nearest">Nearest</h2>
      <Tabs name="Type of the nearest entities" tabs={tabs} chosen={to} choose={choose}>
        <NearestOfType entity={entity} to={to} why={options.why} />
      </Tabs>
    </section>
  );
}

function NearestOfType({ entity, to, why }: { entity: Entity; to: string; why?: string }) {
  const load = (signal: AbortSignal) => similar(entity, to, NUM_NEAREST, signal);
  const { data, error, loading, retry } = useLoad(`${joinRef(entity)} ${to}`, load);
  if (error) return <Failure error={error} retry={retry} />;
  if (!data) return <Skeleton rows={NUM_NEAREST} label="nearest entities" />;
  if (!data.length) return <Empty>No {label(to)} is known beside this one.</Empty>;
  return (
    <ol class="list" aria-busy={loading}>
      {data.map((near) => (
        <NearEntity key={joinRef(near)} entity={entity} near={near} to={to} open={why === joinRef(near)} />
      ))}
    </ol>
  );
}

function NearEntity({ entity, near, to, open }: { entity: Entity; near: Scored; to: string; open: boolean }) {
  const { explains } = useInfo();
  const toggle = () => navigate(entityHash(entity, { to, why: open ? undefined : joinRef(near) }), true);
  return (
    <li>
      <div class="row">
        <EntityLink entity={near} />
        <Bar share={near.score} text={decimal(near.score)} />
        {explains && (
          <button type="button" class="quiet" aria-expanded={open} aria-label={`Why ${near.name}?`} onClick={toggle}>
            why?
          </button>
        )}
      </div>
      {open && <Why entity={entity} near={near} />}
    </li>
  );
}
