/** What stands where an answer is to come, is missing, or went wrong. */

import type { ComponentChildren } from "preact";
import type { ApiError } from "../api";

export function Failure({ error, retry }: { error: ApiError; retry?: () => void }) {
  return (
    <div class="notice failure" role="alert">
      <p>
        <strong>{error.message}</strong>
      </p>
      {error.remedy && <p>{error.remedy}</p>}
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

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
