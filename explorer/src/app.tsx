/** The frame: name, search and pages above; below, the page that the address names. */

import type { ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { getInfo, type Info, type Ref } from "./api";
import { InfoContext, navigate, useInfo, useRoute } from "./context";
import { useLoad } from "./load";
import { EntityPage } from "./pages/entity";
import { HealthPage } from "./pages/health";
import { PlaygroundPage } from "./pages/playground";
import { StartPage } from "./pages/start";
import { EntitySearch } from "./parts/entity_search";
import { Failure, Skeleton } from "./parts/state";
import { entityHash, hashOf, type Page, type Route } from "./route";

const MAP_EVERY_S = 10;
const TITLES: Record<Page, string> = {
  start: "Start",
  entity: "Entity",
  users: "Users",
  map: "Map",
  health: "Health",
  unknown: "Not found",
};

function Header({ page }: { page: Page }) {
  const { map, sequences } = useInfo();
  const pages: Page[] = [...(map.length ? ["map" as const] : []), ...(sequences.length ? ["users" as const] : []), "health"];
  const take = (entity: Ref) => navigate(entityHash(entity));
  return (
    <header class="top">
      <a class="brand" href="#/" aria-current={page === "start" ? "page" : undefined}>
        omnisage
      </a>
      <search>
        <EntitySearch label="Search for an entity" placeholder="Search by name or id" take={take} shortcut="/" />
      </search>
      <nav aria-label="Pages">
        {pages.map((name) => (
          <a key={name} href={hashOf([name])} aria-current={page === name ? "page" : undefined}>
            {TITLES[name]}
          </a>
        ))}
      </nav>
    </header>
  );
}

/** The map's page with its drawing library, fetched when it is first needed: most of the page's bytes are there. */
function MapPage({ route }: { route: Route }) {
  const [Loaded, setLoaded] = useState<ComponentType<{ route: Route }>>();
  const { error, retry } = useLoad("map", async () => {
    const { MapPage: page } = await import("./map/page");
    setLoaded(() => page);
  });
  if (error) return <Failure error={error} retry={retry} />;
  return Loaded ? <Loaded route={route} /> : <Skeleton rows={12} label="map" />;
}

function Content({ route }: { route: Route }) {
  switch (route.page) {
    case "start":
      return <StartPage />;
    case "entity":
      return <EntityPage route={route} />;
    case "users":
      return <PlaygroundPage route={route} />;
    case "map":
      return <MapPage route={route} />;
    case "health":
      return <HealthPage />;
    default:
      return (
        <>
          <h1 tabIndex={-1}>Not found</h1>
          <p>
            Nothing is at this address. <a href="#/">To the start</a>
          </p>
        </>
      );
  }
}

/** The types that users act on come first, then the larger ones. */
function ordered(info: Info): Info {
  const first = (type: string) => info.sequences.some(({ entity }) => entity === type);
  const types = [...info.types].sort(
    (one, other) => Number(first(other.name)) - Number(first(one.name)) || other.entities - one.entities,
  );
  return { ...info, types, map: types.map(({ name }) => name).filter((name) => info.map.includes(name)) };
}

/** Another page begins at its top, and says so to those who do not see it change. */
function useArrival(place: string, main: { current: HTMLElement | null }): void {
  const first = useRef(true);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [place]);
}

/** What is served; asked again until the map has been made, which a new service does while it answers already. */
function useServed() {
  const [attempt, setAttempt] = useState(0);
  const last = useRef<Info>(undefined);
  const { data, error, retry } = useLoad(`info ${attempt}`, async (signal) => ordered(await getInfo(signal)));
  last.current = data ?? last.current;
  const isWaiting = last.current?.map.length === 0;
  useEffect(() => {
    if (!isWaiting) return;
    const timer = setInterval(() => setAttempt((before) => before + 1), 1000 * MAP_EVERY_S);
    return () => clearInterval(timer);
  }, [isWaiting]);
  return { info: last.current, error, retry };
}

export function App() {
  const { info, error, retry } = useServed();
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  const place = `${route.page} ${route.type} ${route.id}`;
  useArrival(place, main);
  useEffect(() => {
    document.title = `${route.id || TITLES[route.page]} · ${info?.name ?? "omnisage"}`;
  }, [place, info]);
  if (!info) {
    return <main class="page">{error ? <Failure error={error} retry={retry} /> : <Skeleton rows={10} label="page" />}</main>;
  }
  return (
    <InfoContext.Provider value={info}>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the content
      </a>
      <Header page={route.page} />
      <main id="main" class={`page ${route.page}`} tabIndex={-1} ref={main}>
        <Content route={route} />
      </main>
    </InfoContext.Provider>
  );
}
