/**
 * The points on screen, by deck.gl: positions and colors go to the graphics card as flat arrays.
 *
 * What is under the pointer is found by a k-d tree on the CPU and not by deck.gl's picking, which draws every point
 * once more for each move of the pointer.
 */

import { type BinaryAttribute, Deck, OrthographicView, type OrthographicViewState } from "@deck.gl/core";
import { ScatterplotLayer } from "@deck.gl/layers";
import KDBush from "kdbush";
import { everyNth, NUM_AT_REST, NUM_MOVING } from "./few";
import type { Points } from "./points";
import { type View, viewOf } from "./view";

const REACH_PX = 12; // how far from a point the pointer may be
const OUTLIERS = 0.025; // the share at each side that the first view leaves out
const RING_PX = 10;
const REST_MS = 500; // without a move, until all points are drawn again
const GROWTH = 0.3; // of a point's radius, in doublings for each doubling of the zoom
const ZOOM_RANGE = 14; // doublings from the whole

interface BinaryData {
  length: number;
  attributes: Record<string, BinaryAttribute & { normalized?: boolean }>;
}

export interface MapHandlers {
  hovered: (point: number | undefined, at: { x: number; y: number }) => void;
  chosen: (point: number) => void;
  drawn: (length: number) => void;
}

export class PointMap {
  private readonly deck: Deck<OrthographicView>;
  private points: Points = { length: 0, positions: new Float32Array(), rows: new Uint32Array() };
  private data: BinaryData | undefined; // what the graphics card has; another object is sent to it anew
  private few: BinaryData | undefined; // instead of it while the map moves, if that is slow
  private resting: ReturnType<typeof setTimeout> | undefined; // set while the map moves
  private marked: number | undefined;
  private tree: KDBush | undefined;
  private view: OrthographicViewState = { target: [0, 0, 0], zoom: 0 };
  private whole: View = { target: [0, 0, 0], zoom: 0 };
  private visible: (point: number) => boolean = () => true;

  constructor(
    private readonly parent: HTMLDivElement,
    private readonly handlers: MapHandlers,
    private readonly ink: [number, number, number],
  ) {
    this.deck = new Deck({
      parent,
      views: new OrthographicView({ flipY: false, controller: { inertia: 250, keyboard: { moveSpeed: 80 } } }),
      viewState: this.view,
      onViewStateChange: ({ viewState }) => this.move(viewState),
      onHover: (info) => this.hover(info),
      onClick: ({ coordinate }) => {
        const point = coordinate && this.nearest(coordinate[0] as number, coordinate[1] as number);
        if (point !== undefined) this.handlers.chosen(point);
      },
      onAfterRender: () => this.data && this.handlers.drawn(this.data.length),
      onResize: ({ width, height }) => this.points.length && this.measure(width, height),
      getCursor: ({ isDragging }) => (isDragging ? "grabbing" : "crosshair"),
      // The points have smooth edges of their own: no need to draw every pixel four times.
      deviceProps: { type: "webgl", webgl: { antialias: false } },
      layers: [],
    });
  }

  /** Other points: the view shows nearly all of them, unless `keepView`. */
  setPoints(points: Points, keepView: boolean): void {
    this.points = points;
    this.tree = undefined;
    this.data = undefined;
    const [width, height] = [this.parent.clientWidth, this.parent.clientHeight];
    this.measure(width, height);
    if (!keepView) this.show(viewOf(points.positions, width, height, OUTLIERS) ?? this.whole);
  }

  /**
   * Args:
   *   colors: [4N] bytes.
   *   visible: whether a point is to be found under the pointer.
   *   isFast: all points may be drawn, at rest and in motion.
   */
  setColors(colors: Uint8Array<ArrayBuffer>, visible: (point: number) => boolean, isFast: boolean): void {
    const { length, positions } = this.points;
    const part = (step: number) => binaryData(everyNth(positions, 2, step), everyNth(colors, 4, step));
    this.data = part(isFast ? 1 : Math.ceil(length / NUM_AT_REST));
    this.few = isFast || length <= NUM_MOVING ? undefined : part(Math.ceil(length / NUM_MOVING));
    this.visible = visible;
    this.draw();
  }

  /**
   * Rings a point, and brings it into view if it is not.
   *
   * Args:
   *   covered: pixels at the right and below that something else lies over.
   */
  mark(point: number | undefined, covered: { right: number; bottom: number }): void {
    this.marked = point;
    if (point !== undefined && this.points.length > point) {
      const place = this.place(point);
      const [x = -1, y = -1] = this.deck.isInitialized ? (this.deck.getViewports()[0]?.project(place) ?? []) : [];
      const [width, height] = [this.parent.clientWidth - covered.right, this.parent.clientHeight - covered.bottom];
      if (x < 0 || y < 0 || x > width || y > height) {
        const zoom = Math.max(this.view.zoom as number, this.whole.zoom + 2);
        const pixel = 0.5 / 2 ** zoom; // y grows upwards
        this.show({ target: [place[0] + covered.right * pixel, place[1] - covered.bottom * pixel, 0], zoom });
      }
    }
    this.draw();
  }

  zoomBy(doublings: number): void {
    this.show({ ...this.view, zoom: (this.view.zoom as number) + doublings });
  }

  fit(): void {
    this.show(this.whole);
  }

  /** The point nearest to the middle, for those who move the map by keys. */
  chooseMiddle(): void {
    const [x, y] = this.view.target as [number, number];
    const point = this.nearest(x, y, Math.min(this.parent.clientWidth, this.parent.clientHeight) / 2);
    if (point !== undefined) this.handlers.chosen(point);
  }

  remove(): void {
    clearTimeout(this.resting);
    this.deck.finalize();
  }

  private place(point: number): [number, number] {
    const { positions } = this.points;
    return [positions[2 * point] as number, positions[2 * point + 1] as number];
  }

  private measure(width: number, height: number): void {
    this.whole = viewOf(this.points.positions, width, height, 0) ?? this.whole;
  }

  private move(view: OrthographicViewState): void {
    const atRest = this.resting === undefined;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.resting = undefined;
      this.draw();
    }, REST_MS);
    this.show(view);
    if (atRest) this.draw();
  }

  private show(view: OrthographicViewState): void {
    const zoom = Math.min(Math.max(view.zoom as number, this.whole.zoom - 1), this.whole.zoom + ZOOM_RANGE);
    const zooms = zoom !== this.view.zoom;
    this.view = { ...view, zoom };
    this.deck.setProps({ viewState: this.view });
    if (zooms) this.draw();
  }

  private hover({ coordinate, x, y }: { coordinate?: number[]; x: number; y: number }): void {
    const point = coordinate && this.nearest(coordinate[0] as number, coordinate[1] as number);
    this.handlers.hovered(point, { x, y });
  }

  private nearest(x: number, y: number, reach_px = REACH_PX): number | undefined {
    if (!this.points.length) return undefined;
    this.tree ??= treeOf(this.points);
    const reach = reach_px / 2 ** (this.view.zoom as number);
    let [best, distance] = [undefined as number | undefined, Infinity];
    for (const point of this.tree.within(x, y, reach)) {
      const [px, py] = this.place(point);
      const squared = (px - x) ** 2 + (py - y) ** 2;
      if (squared < distance && this.visible(point)) [best, distance] = [point, squared];
    }
    return best;
  }

  private draw(): void {
    if (!this.data) return;
    const { length } = this.data;
    const radius = length > 200_000 ? 1 : length > 20_000 ? 1.6 : 3; // of a point, in pixels, where all are in view
    const radiusScale = radius * 2 ** (GROWTH * Math.max(0, (this.view.zoom as number) - this.whole.zoom));
    const showsFew = this.few !== undefined && this.resting !== undefined;
    const shared = { radiusUnits: "pixels", radiusScale } as const;
    const layers = [
      new ScatterplotLayer({ id: "points", data: this.data, visible: !showsFew, ...shared }),
      this.few && new ScatterplotLayer({ id: "few", data: this.few, visible: showsFew, ...shared }),
      new ScatterplotLayer<number>({
        id: "marked",
        data: this.marked === undefined ? [] : [this.marked],
        getPosition: (point) => this.place(point),
        getRadius: RING_PX,
        radiusUnits: "pixels",
        filled: false,
        stroked: true,
        getLineColor: this.ink,
        getLineWidth: 2.5,
        lineWidthUnits: "pixels",
      }),
    ];
    this.deck.setProps({ layers });
  }
}

const binaryData = (positions: Float32Array, colors: Uint8Array): BinaryData => ({
  length: positions.length / 2,
  attributes: {
    getPosition: { value: positions, size: 2 },
    getFillColor: { value: colors, size: 4, normalized: true },
  },
});

function treeOf(points: Points): KDBush {
  const tree = new KDBush(points.length, 64, Float32Array);
  for (let i = 0; i < points.length; i++) tree.add(points.positions[2 * i] as number, points.positions[2 * i + 1] as number);
  return tree.finish();
}
