/** A user, known or made up by clicks, and what is recommended next: at once, after each change. */

import { type Info, recommend, type Scored, type SequenceInfo } from "../api";
import { navigate, useInfo } from "../context";
import { decimal, label } from "../format";
import { useLoad } from "../load";
import { Bar } from "../parts/bar";
import { EntityLink } from "../parts/entity";
import { Empty, Failure, Skeleton } from "../parts/state";
import type { Route } from "../route";
import { Beginnings, Known, Steps, UserSearch } from "./chosen";
import { type History, historyHash, likeKnown, readHistory } from "./history";

const NUM_RECOMMENDED = 15;

export function PlaygroundPage({ route }: { route: Route }) {
  const { sequences } = useInfo();
  const history = readHistory(route.options, sequences);
  const sequence = sequences.find(({ name }) => name === history.sequence);
  if (!sequence) return <Empty>There are no sequences of users in what is served.</Empty>;
  const go = (change: Partial<History>) => navigate(historyHash({ ...history, ...change }));
  const add = (id: Scored["id"]) => go({ user: undefined, steps: [...history.steps, { id: String(id) }] });
  return (
    <>
      <header class="intro">
        <h1 tabIndex={-1}>Users</h1>
        <p>Choose a user, or click together what one did. The recommendations follow.</p>
      </header>
      <div class="columns even">
        <section class="card" aria-labelledby="history">
          <h2 id="history">History</h2>
          <SequenceChoice sequences={sequences} history={history} go={go} />
          <UserSearch sequence={sequence} take={(user) => go({ user: String(user.id), steps: [] })} />
          {history.user !== undefined ? (
            <Known history={history} sequence={sequence} go={go} />
          ) : (
            <Steps history={history} sequence={sequence} go={go} add={add} />
          )}
        </section>
        <section class="card" aria-labelledby="next">
          <h2 id="next">Recommended next</h2>
          {history.user === undefined && !history.steps.length ? (
            <Beginnings type={sequence.entity} add={add} />
          ) : (
            <Recommended history={history} sequence={sequence} add={history.user === undefined ? add : undefined} />
          )}
        </section>
      </div>
    </>
  );
}

interface ChoiceProps {
  sequences: Info["sequences"];
  history: History;
  go: (change: Partial<History>) => void;
}

function SequenceChoice({ sequences, history, go }: ChoiceProps) {
  if (sequences.length < 2) return null;
  const choose = (name: string) => go({ sequence: name, user: undefined, steps: [] });
  return (
    <label>
      Sequence
      <select value={history.sequence} onChange={(event) => choose(event.currentTarget.value)}>
        {sequences.map(({ name }) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
}

export function requestOf({ sequence, user, steps }: History, known: SequenceInfo, k: number) {
  if (user !== undefined) return { sequence, user, k };
  return { sequence, k, events: steps.map(({ id, action }) => ({ id, action: likeKnown(action, known.actions) })) };
}

interface RecommendedProps {
  history: History;
  sequence: SequenceInfo;
  add?: (id: Scored["id"]) => void;
}

function Recommended({ history, sequence, add }: RecommendedProps) {
  const request = requestOf(history, sequence, NUM_RECOMMENDED);
  const { data, error, loading, retry } = useLoad(JSON.stringify(request), (signal) => recommend(request, signal));
  if (error) return <Failure error={error} retry={retry} />;
  if (!data) return <Skeleton rows={NUM_RECOMMENDED} label="recommendations" />;
  if (!data.results.length) return <Empty>Every {label(sequence.entity)} is in the history already.</Empty>;
  const [best, worst] = [data.results[0]?.score ?? 1, data.results.at(-1)?.score ?? 0];
  return (
    <ol class="list" aria-busy={loading}>
      {data.results.map((found) => (
        <li class="row" key={found.id}>
          {add && (
            <button type="button" class="add" aria-label={`Add ${found.name} to the history`} onClick={() => add(found.id)}>
              +
            </button>
          )}
          <EntityLink entity={found} />
          <Bar share={shareOf(found.score, best, worst)} text={decimal(found.score)} />
        </li>
      ))}
    </ol>
  );
}

/** Scores of users are of any size: the best fills its bar, the last that is shown has a tenth of one. */
const shareOf = (score: number, best: number, worst: number) =>
  best > worst ? 0.1 + (0.9 * (score - worst)) / (best - worst) : 1;
