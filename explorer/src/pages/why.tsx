/** Why two entities are near: what both attend to, the content they share, and paths between them in the graph. */

import { type Entity, type Explanation, explain, type PathStep, type Ref } from "../api";
import { cssOf, typeColor } from "../color";
import { useInfo } from "../context";
import { decimal, label, percent, valueText } from "../format";
import { useLoad } from "../load";
import { Bar } from "../parts/bar";
import { EntityLink, TypeMark } from "../parts/entity";
import { useLimited } from "../parts/limited";
import { Empty, Failure, Skeleton } from "../parts/state";
import { joinRef } from "../route";

const NUM_NEIGHBORS = 8;
const NUM_PATHS = 6;

export function Why({ entity, near }: { entity: Entity; near: Ref }) {
  const load = (signal: AbortSignal) => explain(entity, near, signal);
  const { data, error, retry } = useLoad(`${joinRef(entity)} ${joinRef(near)}`, load);
  return (
    <div class="why" role="region" aria-label={`Why ${near.name} is near ${entity.name}`}>
      {error ? (
        <Failure error={error} retry={retry} />
      ) : data ? (
        <Reasons explanation={data} entity={entity} near={near} />
      ) : (
        <Skeleton rows={6} label="reasons" />
      )}
    </div>
  );
}

function Reasons({ explanation, entity, near }: { explanation: Explanation; entity: Ref; near: Ref }) {
  const neighbors = explanation.shared?.neighbors ?? [];
  const features = explanation.shared?.features ?? [];
  const paths = explanation.paths ?? [];
  const [shownPaths, morePaths] = useLimited(paths, NUM_PATHS);
  if (!neighbors.length && !features.length && !paths.length) {
    return <Empty>They share no neighbor, no content and no short path: alike by what they learned.</Empty>;
  }
  return (
    <>
      {explanation.score !== undefined && <p class="soft">Score {decimal(explanation.score)}</p>}
      {features.length > 0 && (
        <section>
          <h3>The same content</h3>
          <p class="chips">
            {features.map(({ column, value }) => (
              <span class="chip" key={`${column} ${value}`}>
                {label(column)}: {valueText(value)}
              </span>
            ))}
          </p>
        </section>
      )}
      {neighbors.length > 0 && <Attended neighbors={neighbors} entity={entity} near={near} />}
      {paths.length > 0 && (
        <section>
          <h3>Paths in the graph</h3>
          <ul class="plain paths">
            {shownPaths.map((path) => (
              <Path key={path.map(joinRef).join()} path={path} />
            ))}
          </ul>
          {morePaths}
        </section>
      )}
    </>
  );
}

interface AttendedProps {
  neighbors: (Ref & { weight_a: number; weight_b: number })[];
  entity: Ref;
  near: Ref;
}

function Attended({ neighbors, entity, near }: AttendedProps) {
  const { types } = useInfo();
  const [shown, more] = useLimited(neighbors, NUM_NEIGHBORS);
  const most = Math.max(...neighbors.flatMap(({ weight_a, weight_b }) => [weight_a, weight_b]));
  const share = (weight: number) => (most > 0 ? weight / most : 0);
  return (
    <section>
      <h3>Neighbors that both attend to</h3>
      <div class="scroll" tabIndex={0} role="group" aria-label="Shared neighbors">
        <table>
          <thead>
            <tr>
              <th scope="col">neighbor</th>
              <th scope="col">{entity.name}</th>
              <th scope="col">{near.name}</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((neighbor) => {
              const color = cssOf(typeColor(types, neighbor.type));
              return (
                <tr key={joinRef(neighbor)}>
                  <th scope="row">
                    <EntityLink entity={neighbor} /> <TypeMark type={neighbor.type} />
                  </th>
                  <td>
                    <Bar share={share(neighbor.weight_a)} text={percent(neighbor.weight_a)} color={color} />
                  </td>
                  <td>
                    <Bar share={share(neighbor.weight_b)} text={percent(neighbor.weight_b)} color={color} />
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {more}
    </section>
  );
}

const Path = ({ path }: { path: PathStep[] }) => (
  <li>
    {path.map((step, position) => (
      <span key={position} class="step">
        {position > 0 && <span class="soft">— {step.relations.map(label).join(", ")} →</span>}
        <TypeMark type={step.type} word={false} />
        <EntityLink entity={step} />
      </span>
    ))}
  </li>
);
