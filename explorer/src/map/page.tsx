/** All entities as points of a plane: colored by type or a column, named under the pointer, opened by a click. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, type Entity, getEntity, getEntityOfRow, getMap } from "../api";
import { type Rgb, rgbOf, typeColor } from "../color";
import { navigate, useInfo } from "../context";
import { compact, count, label } from "../format";
import { useLoad } from "../load";
import { TypeMark } from "../parts/entity";
import { useSettled } from "../parts/combobox";
import { Failure, Waiting } from "../parts/state";
import { hashOf, joinRef, type Route, splitRef } from "../route";
import { PointMap } from "./canvas";
import { findRenderer, NUM_AT_REST } from "./few";
import { Legend } from "./legend";
import { legendPlace, paint } from "./paint";
import { type Points, readPoints } from "./points";
import { Selected } from "./selected";

const NO_WEBGL = new ApiError("This browser cannot draw the map.", 0, "It has no WebGL 2: switch it on, or take another.");
const NO_PLACES: ReadonlySet<number> = new Set();

export function MapPage({ route }: { route: Route }) {
  const { map, types } = useInfo();
  const { color, at, all } = route.options;
  const type = map.includes(route.options.type ?? "") ? (route.options.type as string) : "";
  const hashAt = (options: Record<string, string | undefined>) => hashOf(["map"], { type, color, at, all, ...options });
  const go = (options: Record<string, string | undefined>) => navigate(hashAt(options), true);

  const load = async (signal: AbortSignal) => {
    const found = readPoints(await getMap(type, color, signal), color);
    if (found.types) found.types.colors = found.types.names.map((name) => typeColor(types, name));
    return found;
  };
  const { data: points, error, waiting, loading, retry } = useLoad(`${type} ${color ?? ""}`, load);
  const [hidden, setHidden] = useState(NO_PLACES);
  useEffect(() => setHidden(NO_PLACES), [points]);
  const toggle = (place: number) => {
    const next = new Set(hidden);
    if (!next.delete(place)) next.add(place);
    setHidden(next);
  };

  const [renderer] = useState(findRenderer);
  const isFast = renderer === "card" || all !== undefined;
  const isPart = !isFast && points !== undefined && points.length > NUM_AT_REST;
  const columns = types.find(({ name }) => name === type)?.columns ?? [];
  const coloring = points && (points.coloring ?? points.types);
  if (renderer === "none") return <Failure error={NO_WEBGL} />;
  return (
    <>
      <h1 class="hidden">Map of the embeddings</h1>
      <Canvas
        points={points}
        type={type}
        at={at}
        hidden={hidden}
        isFast={isFast}
        choose={(entity) => go({ at: joinRef(entity) })}
      />
      <form class="card map-controls" aria-label="What the map shows">
        <label>
          Points
          <select value={type} onChange={(event) => go({ type: event.currentTarget.value, color: undefined, at: undefined })}>
            <option value="">all types</option>
            {map.map((name) => (
              <option key={name} value={name}>
                {label(name)}
              </option>
            ))}
          </select>
        </label>
        <label>
          Color
          <select value={color ?? ""} disabled={!columns.length} onChange={(event) => go({ color: event.currentTarget.value })}>
            <option value="">{type ? "one for all" : "type"}</option>
            {columns.map(({ name }) => (
              <option key={name} value={name}>
                {label(name)}
              </option>
            ))}
          </select>
        </label>
        <p class="soft" role="status">
          {loading ? "Loading …" : points ? `${count(points.length)} points` : ""}
        </p>
        {isPart && (
          <p class="soft">
            About {compact(NUM_AT_REST)} of them are drawn: this browser draws without a graphics card.{" "}
            <a href={hashAt({ all: "yes" })}>Draw all</a>
          </p>
        )}
        {coloring && <Legend coloring={coloring} hidden={hidden} toggle={toggle} />}
      </form>
      {error && <Failure error={error} retry={retry} />}
      {waiting && <Waiting on={waiting} />}
      <Selected at={splitRef(at)} hashAt={hashAt} close={() => go({ at: undefined })} />
    </>
  );
}

interface CanvasProps {
  points?: Points;
  type: string; // of all points; empty where each has its own
  at?: string;
  hidden: ReadonlySet<number>;
  isFast: boolean;
  choose: (entity: Entity) => void;
}

const typeOf = (points: Points, type: string, point: number) =>
  type || (points.types?.names[points.types.codes[point] as number] as string);

function Canvas({ points, type, at, hidden, isFast, choose }: CanvasProps) {
  const { types } = useInfo();
  const parent = useRef<HTMLDivElement>(null);
  const map = useRef<PointMap>(null);
  const shownType = useRef<string>(null);
  const latest = useRef<(point: number) => void>(() => {});
  const [hover, setHover] = useState<{ point?: number; x: number; y: number }>({ x: 0, y: 0 });
  const [drawn, setDrawn] = useState(0);

  latest.current = (point) => {
    if (points) void getEntityOfRow(typeOf(points, type, point), points.rows[point] as number).then(choose);
  };
  useEffect(() => {
    const handlers = {
      hovered: (point: number | undefined, place: { x: number; y: number }) => setHover({ point, ...place }),
      chosen: (point: number) => latest.current(point),
      drawn: setDrawn,
    };
    map.current = new PointMap(parent.current as HTMLDivElement, handlers, inkColor());
    return () => map.current?.remove();
  }, []);

  useEffect(() => {
    if (!points) return;
    map.current?.setPoints(points, shownType.current === type);
    shownType.current = type;
  }, [points]);
  useEffect(() => {
    if (!points) return;
    const coloring = points.coloring ?? points.types;
    const categories = coloring?.kind === "category" ? coloring : undefined;
    const opacity = opacityOf(isFast ? points.length : Math.min(points.length, NUM_AT_REST));
    const colors = paint(points.length, coloring, hidden, opacity, typeColor(types, type));
    const visible = (point: number) => !categories || !hidden.has(legendPlace(categories, point));
    map.current?.setColors(colors, visible, isFast);
  }, [points, hidden, isFast]);

  const marked = usePointAt(points, type, at);
  useEffect(() => map.current?.mark(marked, coveredOf(parent.current)), [marked, points]);
  const pressed = (event: KeyboardEvent) => event.key === "Enter" && map.current?.chooseMiddle();
  return (
    <div class="canvas" data-drawn={drawn}>
      <div
        ref={parent}
        class="surface"
        tabIndex={0}
        role="application"
        aria-label="Map. Arrow keys move, plus and minus zoom, Enter opens the entity nearest to the middle."
        onKeyDown={pressed}
        onPointerLeave={() => setHover({ x: 0, y: 0 })}
      />
      <div class="zoom" role="group" aria-label="Zoom">
        <button type="button" aria-label="Zoom in" onClick={() => map.current?.zoomBy(1)}>
          +
        </button>
        <button type="button" aria-label="Zoom out" onClick={() => map.current?.zoomBy(-1)}>
          −
        </button>
        <button type="button" aria-label="Show all" onClick={() => map.current?.fit()}>
          ⤢
        </button>
      </div>
      {points && hover.point !== undefined && (
        <Hint
          type={typeOf(points, type, hover.point)}
          row={points.rows[hover.point] as number}
          x={hover.x}
          y={hover.y}
          width={parent.current?.clientWidth ?? 0}
        />
      )}
    </div>
  );
}

/** The name of the point under the pointer, asked once the pointer rests a moment. */
function Hint({ type, row, x, y, width }: { type: string; row: number; x: number; y: number; width: number }) {
  const key = `${type} ${row}`;
  const asked = useSettled(key);
  const { data } = useLoad(asked === key ? key : undefined, (signal) => getEntityOfRow(type, row, signal));
  const name = data?.row === row && data.type === type ? data.name : "…";
  return (
    <div class="hint" style={{ [x > width / 2 ? "right" : "left"]: `${x > width / 2 ? width - x : x}px`, top: `${y}px` }} aria-hidden="true">
      {name} <TypeMark type={type} />
    </div>
  );
}

function usePointAt(points: Points | undefined, type: string, at: string | undefined): number | undefined {
  const target = splitRef(at);
  const { data } = useLoad(target && at, (signal) => getEntity(target?.type ?? "", target?.id ?? "", signal));
  return useMemo(() => {
    if (!points || data?.row === undefined || !target) return undefined;
    for (let point = 0; point < points.length; point++) {
      if (points.rows[point] === data.row && typeOf(points, type, point) === data.type) return point;
    }
    return undefined;
  }, [points, data]);
}

const opacityOf = (length: number) => (length > 200_000 ? 120 : length > 20_000 ? 170 : 215);

/** What the panel of the chosen entity lies over: the right, or the lower part where the page is narrow. */
function coveredOf(canvas: HTMLElement | null): { right: number; bottom: number } {
  const panel = document.querySelector(".selected")?.getBoundingClientRect();
  const whole = canvas?.getBoundingClientRect();
  if (!panel || !whole) return { right: 0, bottom: 0 };
  const below = panel.width > whole.width / 2;
  return below ? { right: 0, bottom: whole.bottom - panel.top } : { right: whole.right - panel.left, bottom: 0 };
}

function inkColor(): Rgb {
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--text").trim();
  return rgbOf(ink.startsWith("#") ? ink : "#808080");
}
