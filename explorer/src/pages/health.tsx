/** How sound the embeddings are: of each type, by degree, and against the version before. */

import { getHealth } from "../api";
import { useInfo } from "../context";
import { compact, count, decimal, label, percent } from "../format";
import { useLoad } from "../load";
import { Bar } from "../parts/bar";
import { TypeMark } from "../parts/entity";
import { Histogram } from "../parts/histogram";
import { useLimited } from "../parts/limited";
import { Empty, Failure, Skeleton, Waiting } from "../parts/state";
import type { Drift, HealthReport, Hubness, RecallRow, TypeHealth } from "./report";

const NUM_GROUPS = 6;

export function HealthPage() {
  const { dim, types } = useInfo();
  const { data, error, waiting, retry } = useLoad("health", async (signal) => (await getHealth(signal)) as HealthReport);
  return (
    <>
      <header class="intro">
        <h1 tabIndex={-1}>Health</h1>
        <p>Whether the embeddings use their space, and for whom they work.</p>
      </header>
      {error && <Failure error={error} retry={retry} />}
      {waiting && <Waiting on={waiting} />}
      {!data && !error && <Skeleton rows={16} label="report" />}
      {data && (
        <>
          <ul class="cards wide">
            {types.map(({ name }) => {
              const health = data.types[name];
              return health && <TypeCard key={name} type={name} health={health} dim={dim} />;
            })}
          </ul>
          <RecallByDegree rows={data.recall_by_degree} />
          <Results table={data.evaluation} />
          <DriftSection drift={data.drift} />
        </>
      )}
    </>
  );
}

interface FigureProps {
  name: string;
  value: string;
  note: string;
}

const Figure = ({ name, value, note }: FigureProps) => (
  <div>
    <dt title={note}>{name}</dt>
    <dd>
      {value} <small>{note}</small>
    </dd>
  </div>
);

function TypeCard({ type, health, dim }: { type: string; health: TypeHealth; dim: number }) {
  const { norms, hubness } = health;
  return (
    <li class="card">
      <h2>
        <TypeMark type={type} /> <span class="soft">{count(health.entities)}</span>
      </h2>
      <dl class="figures">
        <Figure name="effective rank" value={decimal(health.effective_rank, 1)} note={`of ${dim} dimensions`} />
        <Figure name="alignment" value={decimal(health.alignment)} note="of linked pairs; 0 is closest" />
        <Figure name="uniformity" value={decimal(health.uniformity)} note="lower is more spread" />
        <Figure name="norm" value={decimal(norms.mean)} note={`± ${decimal(norms.std)}`} />
      </dl>
      {norms.histogram.counts.length > 1 && <Histogram data={norms.histogram} name="norm" />}
      {hubness && <HubnessFigures hubness={hubness} />}
    </li>
  );
}

const HubnessFigures = ({ hubness }: { hubness: Hubness }) => (
  <>
    <h3>Hubness</h3>
    <dl class="figures">
      <Figure name="skewness" value={decimal(hubness.skewness, 2)} note="0 is even" />
      <Figure name="never near" value={percent(hubness.never)} note={`in no list of ${hubness.k}`} />
      <Figure name="largest hub" value={compact(hubness.max)} note="lists it is in" />
    </dl>
    <Histogram data={hubness.histogram} name="lists an entity is in" />
  </>
);

function RecallByDegree({ rows }: { rows: RecallRow[] }) {
  const [groups, more] = useLimited([...grouped(rows)], NUM_GROUPS);
  return (
    <section class="card" aria-labelledby="recall">
      <h2 id="recall">Recall by degree</h2>
      {rows.length === 0 && <Empty>Not measured: run `omnisage evaluation`.</Empty>}
      <div class="groups">
        {groups.map(([name, members]) => (
          <RecallGroup key={name} name={JSON.parse(name) as string[]} rows={members} />
        ))}
      </div>
      {more}
    </section>
  );
}

function grouped(rows: RecallRow[]): Map<string, RecallRow[]> {
  const groups = new Map<string, RecallRow[]>();
  for (const row of rows) {
    const name = JSON.stringify([row.name.replace("->", "→"), label(row.task), row.metric]);
    groups.set(name, [...(groups.get(name) ?? []), row]);
  }
  return groups;
}

function RecallGroup({ name: [name, ...rest], rows }: { name: string[]; rows: RecallRow[] }) {
  const most = Math.max(...rows.map(({ value }) => value), 1e-9);
  return (
    <section>
      <h3>
        {name} <small>{rest.join(" · ")}</small>
      </h3>
      <dl class="rows">
        {rows.map((row) => (
          <div key={row.label}>
            <dt title={row.label}>{row.meaning}</dt>
            <dd>
              <span title={`${compact(row.queries)} queries`}>
                <Bar share={row.value / most} text={decimal(row.value)} />
              </span>
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function Results({ table }: { table: HealthReport["evaluation"] }) {
  if (!table) return null;
  return (
    <section class="card" aria-labelledby="results">
      <h2 id="results">Results</h2>
      <div class="scroll" tabIndex={0} role="group" aria-label="Table of results">
        <table>
          <thead>
            <tr>
              {table.headers.map((header) => (
                <th scope="col" key={header}>
                  {header}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {table.rows.map(([name, ...cells]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {cells.map((cell, column) => (
                  <td key={column}>{cell}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function DriftSection({ drift }: { drift: Record<string, Drift> | null }) {
  return (
    <section class="card" aria-labelledby="drift">
      <h2 id="drift">Drift</h2>
      {drift ? (
        <ul class="cards wide plain">
          {Object.entries(drift).map(([type, one]) => (
            <li key={type}>
              <h3>
                <TypeMark type={type} /> <span class="soft">{count(one.common)} in both versions</span>
              </h3>
              <dl class="figures">
                <Figure name="cosine" value={decimal(one.mean_cosine)} note="old to new, as they are" />
                <Figure name="aligned" value={decimal(one.mean_cosine_aligned)} note="the new one turned to the old" />
                {one.neighbor_overlap !== null && (
                  <Figure name="same nearest" value={percent(one.neighbor_overlap)} note="of the ten nearest" />
                )}
              </dl>
              {one.histogram && <Histogram data={one.histogram} name="cosine once aligned" />}
            </li>
          ))}
        </ul>
      ) : (
        <Empty>No earlier version to compare with.</Empty>
      )}
    </section>
  );
}
