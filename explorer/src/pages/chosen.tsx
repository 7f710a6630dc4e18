/** The history of the playground: a known user's latest events, or the steps that were clicked together. */

import { findUsers, getEntity, recommend, type Scored, search, type SequenceInfo, type User } from "../api";
import { count, label } from "../format";
import { useLoad } from "../load";
import { Combobox } from "../parts/combobox";
import { EntityLink } from "../parts/entity";
import { EntitySearch } from "../parts/entity_search";
import { Empty, Failure, Skeleton } from "../parts/state";
import type { History, Step } from "./history";

const NUM_BEGINNINGS = 15;
const NUM_USERS = 12;

interface ChosenProps {
  history: History;
  sequence: SequenceInfo;
  go: (change: Partial<History>) => void;
}

interface UserSearchProps {
  sequence: SequenceInfo;
  take: (user: User) => void;
}

export const UserSearch = ({ sequence, take }: UserSearchProps) => (
  <Combobox<User>
    label={`Choose one of ${count(sequence.users)} users`}
    placeholder={`One of ${count(sequence.users)} users`}
    find={(text, signal) => findUsers(sequence.name, text, NUM_USERS, signal)}
    keyOf={({ id }) => String(id)}
    draw={({ id, events }) => (
      <>
        <span class="name">{id}</span>
        <span class="soft">{count(events)} events</span>
      </>
    )}
    take={take}
  />
);

export function Known({ history, sequence, go }: ChosenProps) {
  const request = { sequence: sequence.name, user: history.user, k: 1 };
  const { data, error, retry } = useLoad(JSON.stringify(request), (signal) => recommend(request, signal));
  const copy = () =>
    go({
      user: undefined,
      steps: (data?.known ?? []).map(({ id }) => ({ id: String(id) })).reverse(),
    });
  return (
    <>
      <p class="ways">
        <strong>User {history.user}</strong>
        <button type="button" disabled={!data} onClick={copy}>
          Go on from here
        </button>
        <button type="button" class="quiet" onClick={() => go({ user: undefined, steps: [] })}>
          Begin anew
        </button>
      </p>
      {error && <Failure error={error} retry={retry} />}
      {!data && !error && <Skeleton rows={8} label="history" />}
      {data && !data.known.length && <Empty>Nothing is known of this user.</Empty>}
      {data && (
        <ol class="list history" aria-label="Latest events, the latest first">
          {data.known.map((event, position) => (
            <li class="row" key={position}>
              <EntityLink entity={event} />
            </li>
          ))}
        </ol>
      )}
    </>
  );
}

interface StepsProps extends ChosenProps {
  add: (id: Scored["id"]) => void;
}

export function Steps({ history, sequence, go, add }: StepsProps) {
  const { steps } = history;
  const change = (position: number, step: Step | undefined) =>
    go({ steps: steps.flatMap((old, at) => (at !== position ? [old] : step ? [step] : [])) });
  const name = label(sequence.entity);
  return (
    <>
      <EntitySearch label={`Add ${name}`} placeholder={`Add ${name} by name or id`} type={sequence.entity} take={({ id }) => add(id)} />
      {steps.length > 0 ? (
        <>
          <ol class="list history" aria-label="Events, the latest first">
            {steps
              .map((step, position) => (
                <StepRow key={`${position} ${step.id}`} step={step} sequence={sequence} change={(next) => change(position, next)} />
              ))
              .reverse()}
          </ol>
          <button type="button" class="quiet" onClick={() => go({ steps: [] })}>
            Begin anew
          </button>
        </>
      ) : (
        <Empty>Nothing yet.</Empty>
      )}
    </>
  );
}

interface StepRowProps {
  step: Step;
  sequence: SequenceInfo;
  change: (step: Step | undefined) => void;
}

function StepRow({ step, sequence, change }: StepRowProps) {
  const { data, error } = useLoad(`${sequence.entity} ${step.id}`, (signal) => getEntity(sequence.entity, step.id, signal));
  const name = data?.name ?? step.id;
  return (
    <li class="row">
      {data ? <EntityLink entity={data} /> : <span class={error ? "bad" : "soft"}>{error ? error.message : name}</span>}
      {Array.isArray(sequence.actions) && (
        <select
          aria-label={`Action on ${name}`}
          value={step.action ?? ""}
          onChange={(event) => change({ ...step, action: event.currentTarget.value || undefined })}
        >
          <option value="">any</option>
          {sequence.actions.map((action) => (
            <option key={action}>{action}</option>
          ))}
        </select>
      )}
      <button type="button" class="add" aria-label={`Remove ${name}`} onClick={() => change(undefined)}>
        ×
      </button>
    </li>
  );
}

/** The best known entities, to begin a history with. */
export function Beginnings({ type, add }: { type: string; add: (id: Scored["id"]) => void }) {
  const { data, error, retry } = useLoad(type, (signal) => search("", type, NUM_BEGINNINGS, signal));
  if (error) return <Failure error={error} retry={retry} />;
  if (!data) return <Skeleton rows={NUM_BEGINNINGS} label={label(type)} />;
  return (
    <>
      <p class="soft">Nothing is recommended before anything is known. Begin with one of the best known:</p>
      <ul class="list">
        {data.map((entity) => (
          <li class="row" key={entity.id}>
            <button type="button" class="add" aria-label={`Add ${entity.name} to the history`} onClick={() => add(entity.id)}>
              +
            </button>
            <EntityLink entity={entity} />
          </li>
        ))}
      </ul>
    </>
  );
}
