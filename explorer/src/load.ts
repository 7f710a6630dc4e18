/** What is asked from the service, as state: the last answer stays on screen until the next one is there. */

import { useCallback, useEffect, useState } from "preact/hooks";
import { ApiError } from "./api";

export interface Loaded<T> {
  data?: T;
  error?: ApiError;
  loading: boolean;
  retry: () => void;
}

/**
 * Asks again whenever `key` changes; `undefined` asks nothing. What an older key is still waiting for is aborted.
 */
export function useLoad<T>(key: string | undefined, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ key?: string; data?: T; error?: ApiError }>({});
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (key === undefined) return setState({});
    const aborter = new AbortController();
    load(aborter.signal).then(
      (data) => !aborter.signal.aborted && setState({ key, data }),
      (problem: unknown) => {
        if (aborter.signal.aborted) return;
        const error = problem instanceof ApiError ? problem : new ApiError(String(problem), 0);
        setState({ key, error });
      },
    );
    return () => aborter.abort();
  }, [key, attempt]);
  const retry = useCallback(() => {
    setState({});
    setAttempt((before) => before + 1);
  }, []);
  return { data: state.data, error: state.error, loading: key !== undefined && state.key !== key, retry };
}
