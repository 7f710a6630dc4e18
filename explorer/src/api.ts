/**
 * The service as the page sees it: the shapes of its answers, and one way to ask.
 *
 * Paths are relative to the page, so that the service may live under any prefix of a proxy.
 */

export type Id = string | number;
export type Value = string | number | boolean | null | (string | number)[];

export interface Ref {
  type: string;
  id: Id;
  name: string;
}

export interface Scored extends Ref {
  score: number;
}

export interface Column {
  name: string;
  kind: "number" | "category" | "text";
}

export interface EntityType {
  name: string;
  entities: number;
  columns: Column[];
}

export interface SequenceInfo {
  name: string;
  entity: string;
  users: number;
  actions?: Id[];
}

export interface Info {
  name: string;
  version: string;
  embeddings: string;
  dim: number;
  types: EntityType[];
  sequences: SequenceInfo[];
  explains: boolean;
  map: string[];
}

export interface Entity extends Ref {
  row?: number;
  columns: Record<string, Value>;
  image: string | null;
  degree: Record<string, number>;
}

export interface Neighbor extends Ref {
  weight: number;
  relations: string[]; // of edges between the two; none where only a walk leads there
}

/** A step of a path, with the relations that link it with the step before. */
export interface PathStep extends Ref {
  relations: string[];
}

export interface Shared {
  neighbors: (Ref & { weight_a: number; weight_b: number })[];
  features: { column: string; value: Value }[];
}

export interface Explanation {
  entity: Ref;
  self_weight: number;
  own: { feature: string; weight: number }[];
  neighbors: Neighbor[];
  score?: number;
  shared?: Shared;
  paths?: PathStep[][];
}

export interface Recommendations {
  results: Scored[];
  known: Ref[]; // of the latest events, the latest first
}

export interface HistoryEvent {
  id: Id;
  action?: Id;
}

/** What went wrong, in words for people: the service's own where it gave them. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly remedy = "",
    readonly retryAfter_s?: number, // set where waiting helps
  ) {
    super(message);
  }
}

const TOKEN = "omnisage-token";

/** The bearer token of a service that wants one; kept until the tab is closed. */
export const setToken = (token: string) => sessionStorage.setItem(TOKEN, token);

function authorization(): Record<string, string> {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function failure(answer: Response): Promise<ApiError> {
  const body = (await answer.json().catch(() => null)) as { error?: { message?: string; remedy?: string | null } } | null;
  const message = body?.error?.message ?? `The service answered ${answer.status} ${answer.statusText}`.trim();
  const wait = answer.status === 503 ? Number(answer.headers.get("Retry-After") ?? Number.NaN) : Number.NaN;
  return new ApiError(message, answer.status, body?.error?.remedy ?? "", Number.isFinite(wait) ? wait : undefined);
}

async function ask(path: string, options: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, ...authorization() } });
  } catch (problem) {
    if (options.signal?.aborted) throw problem;
    throw new ApiError("The service does not answer.", 0, "See whether `omnisage serve` still runs, then try again.");
  }
  if (!answer.ok) throw await failure(answer);
  return answer;
}

type Parameters = Record<string, string | number | undefined>;

function withQuery(path: string, parameters: Parameters): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return query.size ? `${path}?${query}` : path;
}

async function get<T>(path: string, parameters: Parameters, signal?: AbortSignal): Promise<T> {
  return (await ask(withQuery(path, parameters), { signal })).json() as Promise<T>;
}

async function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body), signal })).json() as Promise<T>;
}

export const getInfo = (signal?: AbortSignal) => get<Info>("v1/info", {}, signal);

export const getHealth = (signal?: AbortSignal) => get<unknown>("v1/health-report", {}, signal);

export async function search(q: string, type: string | undefined, limit: number, signal?: AbortSignal): Promise<Ref[]> {
  return (await get<{ results: Ref[] }>("v1/search", { q, type, limit }, signal)).results;
}

export const getEntity = (type: string, id: Id, signal?: AbortSignal) =>
  get<Entity>("v1/entity", { type, id }, signal);

export const getEntityOfRow = (type: string, row: number, signal?: AbortSignal) =>
  get<Entity>("v1/entity", { type, row }, signal);

export async function similar(of: Ref, to: string, k: number, signal?: AbortSignal): Promise<Scored[]> {
  const body = { type: of.type, id: of.id, to, k };
  return (await post<{ results: Scored[] }>("v1/similar", body, signal)).results;
}

export const recommend = (
  request: { sequence: string; user?: Id; events?: HistoryEvent[]; k: number },
  signal?: AbortSignal,
) => post<Recommendations>("v1/recommend", request, signal);

export function explain(of: Ref, to: Ref | undefined, signal?: AbortSignal): Promise<Explanation> {
  const pair = { type: of.type, id: of.id, to: to && { type: to.type, id: to.id } };
  return post<Explanation>("v1/explain", pair, signal);
}

export async function getMap(type: string, column: string | undefined, signal?: AbortSignal): Promise<ArrayBuffer> {
  return (await ask(withQuery("v1/map", { type: type || undefined, column }), { signal })).arrayBuffer();
}

export interface User {
  id: Id;
  events: number;
}

export async function findUsers(sequence: string, q: string, limit: number, signal?: AbortSignal): Promise<User[]> {
  return (await get<{ results: User[] }>("v1/users", { sequence, q, limit }, signal)).results;
}

/** An image as the service names it, asked as all else is, so that the token goes with it. */
export async function getImage(address: string, signal?: AbortSignal): Promise<string> {
  return URL.createObjectURL(await (await ask(address.replace(/^\/+/, ""), { signal })).blob());
}
