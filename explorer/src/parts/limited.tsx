/** A long list, cut until more is asked for. */

import { useState } from "preact/hooks";

/** Returns: the items to show, and a button for the rest if there is one. */
export function useLimited<T>(items: T[], limit: number) {
  const [all, setAll] = useState(false);
  const button = items.length > limit && (
    <button type="button" class="quiet" aria-expanded={all} onClick={() => setAll(!all)}>
      {all ? "Show fewer" : `Show all ${items.length}`}
    </button>
  );
  return [all ? items : items.slice(0, limit), button] as const;
}
