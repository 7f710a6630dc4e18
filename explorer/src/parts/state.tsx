/** What stands where an answer is to come, is missing, or went wrong. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { type ApiError, setToken } from "../api";
import { sentence } from "../format";

export function Failure({ error, retry }: { error: ApiError; retry?: () => void }) {
  return (
    <div class="notice failure" role="alert">
      <p>
        <strong>{sentence(error.message)}</strong>
      </p>
      {error.remedy && <p>{sentence(error.remedy)}</p>}
      {error.status === 401 && <TokenForm retry={retry ?? (() => location.reload())} />}
      {retry && error.status !== 401 && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

function TokenForm({ retry }: { retry: () => void }) {
  const [token, edit] = useState("");
  const send = (event: Event) => {
    event.preventDefault();
    setToken(token);
    retry();
  };
  return (
    <form onSubmit={send}>
      <label>
        Token
        <input type="password" value={token} onInput={(event) => edit(event.currentTarget.value)} autocomplete="off" />
      </label>
      <button type="submit">Go on</button>
    </form>
  );
}

export const Waiting = ({ on }: { on: ApiError }) => (
  <p class="notice" role="status">
    {sentence(on.message)} This page goes on by itself.
  </p>
);

export const Empty = ({ children }: { children: ComponentChildren }) => <p class="notice empty">{children}</p>;

/** Lines as high as what comes, so that nothing jumps when it does. */
export function Skeleton({ rows, label }: { rows: number; label: string }) {
  return (
    <div class="skeleton" role="status" aria-label={`Loading ${label}`}>
      {Array.from({ length: rows }, (_, row) => (
        <span key={row} />
      ))}
    </div>
  );
}
