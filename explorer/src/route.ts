/**
 * The address of what is on screen, in the hash, so that it can be kept, sent and gone back to.
 *
 *   #/                                     start
 *   #/entity/movie/50?to=person&why=...    an entity, its nearest of a type, why one of them is near
 *   #/users?user=42 or #/users?events=...  the playground
 *   #/map?type=movie&color=year&at=50      the map
 *   #/health
 */

export type Page = "start" | "entity" | "users" | "map" | "health" | "unknown";

export interface Route {
  page: Page;
  type: string; // of an entity page
  id: string;
  options: Record<string, string>;
}

const PAGES: readonly string[] = ["entity", "users", "map", "health"];

export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand, with a percent sign of its own
  }
}

export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [page = "", type = "", id = ""] = path.split("/").map(decoded);
  const options = Object.fromEntries(new URLSearchParams(query));
  if (page === "") return { page: "start", type: "", id: "", options };
  const known = PAGES.includes(page) && (page !== "entity" || (type !== "" && id !== ""));
  return { page: known ? (page as Page) : "unknown", type, id, options };
}

export function hashOf(path: string[], options: Record<string, string | undefined> = {}): string {
  const given = Object.entries(options).filter((pair): pair is [string, string] => Boolean(pair[1]));
  const query = new URLSearchParams(given);
  return `#/${path.map(encodeURIComponent).join("/")}${query.size ? `?${query}` : ""}`;
}

export const entityHash = (entity: { type: string; id: string | number }, options = {}) =>
  hashOf(["entity", entity.type, String(entity.id)], options);

/** A pair of type and id in one value: `movie/50`. */
export const joinRef = (entity: { type: string; id: string | number }) =>
  `${encodeURIComponent(entity.type)}/${encodeURIComponent(entity.id)}`;

export function splitRef(text: string | undefined): { type: string; id: string } | undefined {
  const [type, id] = (text ?? "").split("/").map(decoded);
  return type && id ? { type, id } : undefined;
}

