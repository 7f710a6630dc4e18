/** What every part of the page may read: what is served, and the address. */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import type { Info } from "./api";
import { parseRoute, type Route } from "./route";

export const InfoContext = createContext<Info | null>(null);

export function useInfo(): Info {
  const info = useContext(InfoContext);
  if (!info) throw new Error("drawn before the service said what it serves");
  return info;
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", changed);
    changed(); // it may have changed between the first drawing and now
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

/** Goes to an address; `replace` where going back to the one before would be of no use. */
export function navigate(hash: string, replace = false): void {
  if (!replace) {
    location.hash = hash;
    return;
  }
  history.replaceState(null, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
