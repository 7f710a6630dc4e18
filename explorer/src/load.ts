/** What is asked from the service, as state: the last answer stays on screen until the next one is there. */

import { useCallback, useEffect, useState } from "preact/hooks";
import { ApiError } from "./api";

export interface Loaded<T> {
  data?: T;
  error?: ApiError;
  loading: boolean;
  waiting?: ApiError; // the service is not ready with it; it is asked again by itself
  retry: () => void;
}

interface State<T> {
  key?: string;
  data?: T;
  error?: ApiError;
  waiting?: ApiError;
}

/**
 * Asks again whenever `key` changes; `undefined` asks nothing. What an older key is still waiting for is aborted.
 */
export function useLoad<T>(key: string | undefined, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<State<T>>({});
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (key === undefined) return setState({});
    const aborter = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    load(aborter.signal).then(
      (data) => !aborter.signal.aborted && setState({ key, data }),
      (problem: unknown) => {
        if (aborter.signal.aborted) return;
        const error = problem instanceof ApiError ? problem : new ApiError(String(problem), 0);
        if (error.retryAfter_s === undefined) return setState({ key, error });
        setState({ waiting: error });
        timer = setTimeout(() => setAttempt((before) => before + 1), 1000 * Math.max(error.retryAfter_s, 1));
      },
    );
    return () => {
      aborter.abort();
      clearTimeout(timer);
    };
  }, [key, attempt]);
  const retry = useCallback(() => {
    setState({});
    setAttempt((before) => before + 1);
  }, []);
  const { data, error, waiting } = state;
  return { data, error, waiting, loading: key !== undefined && state.key !== key, retry };
}
