/** The points of the map, from an Arrow stream to the flat arrays that are drawn. */

import { type Column, type Table, tableFromIPC } from "@uwdata/flechette";
import { categoryColor, NUM_COLORS, type Rgb } from "../color";

export interface Categories {
  kind: "category";
  codes: ArrayLike<number>; // [N], places in `names`; -1 where there is no value
  names: string[]; // from the most frequent on
  colors: Rgb[]; // of each name that has one of its own; the rest share one
  counts: number[];
}

export interface Numbers {
  kind: "number";
  values: ArrayLike<number>; // [N], NaN where there is no value
  low: number; // the range that the colors span: all values but a few outliers
  high: number;
}

export type Coloring = Categories | Numbers;

export interface Points {
  length: number;
  positions: Float32Array; // [2N], x and y in turn
  rows: Uint32Array; // [N], dense ids within the type
  types?: Categories; // of a map of all types
  coloring?: Coloring;
}

const NUM_SAMPLED = 20_000; // values that the range of a number is found from
const OUTLIERS = 0.01; // the share at each end that the range leaves out

/**
 * Args:
 *   stream: columns `x`, `y` float32 and `row` uint32, perhaps `type`, perhaps the column to color by.
 *   column: the name of the last.
 */
export function readPoints(stream: ArrayBuffer, column?: string): Points {
  const table = tableFromIPC(new Uint8Array(stream), { useBigInt: false });
  const [x, y] = [typed(table, "x"), typed(table, "y")];
  const positions = new Float32Array(2 * x.length);
  for (let i = 0; i < x.length; i++) {
    positions[2 * i] = x[i] as number;
    positions[2 * i + 1] = y[i] as number;
  }
  const [types, colored] = [table.getChild("type"), column && table.getChild(column)];
  return {
    length: x.length,
    positions,
    rows: Uint32Array.from(typed(table, "row")),
    types: types ? categoriesOf(types) : undefined,
    coloring: colored ? coloringOf(colored) : undefined,
  };
}

function typed(table: Table, name: string): ArrayLike<number> {
  const column = table.getChild(name);
  if (!column) throw new Error(`the map has no column ${name}`);
  return column.toArray() as ArrayLike<number>;
}

function coloringOf(column: Column<unknown>): Coloring {
  let at = 0;
  while (at < column.length && column.at(at) === null) at++;
  const first = column.at(at);
  return typeof first === "number" ? numbersOf(column) : categoriesOf(column);
}

function numbersOf(column: Column<unknown>): Numbers {
  const values = column.nullCount
    ? Float32Array.from(column.toArray() as (number | null)[], (value) => value ?? Number.NaN)
    : (column.toArray() as ArrayLike<number>);
  const stride = Math.max(1, Math.floor(values.length / NUM_SAMPLED));
  const sample: number[] = [];
  for (let i = 0; i < values.length; i += stride) if (Number.isFinite(values[i])) sample.push(values[i] as number);
  sample.sort((one, other) => one - other);
  const at = (share: number) => sample[Math.round(share * (sample.length - 1))] ?? 0;
  return { kind: "number", values, low: at(OUTLIERS), high: at(1 - OUTLIERS) };
}

/** Codes by frequency, whatever order and however many dictionaries the stream had. */
function categoriesOf(column: Column<unknown>): Categories {
  const codes = new Int32Array(column.length);
  const places = new Map<string, number>();
  const counts: number[] = [];
  let i = 0;
  for (const value of column) {
    const name = value === null ? undefined : String(value);
    let place = name === undefined ? -1 : places.get(name);
    if (place === undefined) {
      place = counts.push(0) - 1;
      places.set(name as string, place);
    }
    if (place >= 0) (counts[place] as number)++;
    codes[i++] = place;
  }
  const order = [...counts.keys()].sort((one, other) => (counts[other] as number) - (counts[one] as number));
  const rank = new Int32Array(order.length);
  for (const [position, place] of order.entries()) rank[place] = position;
  for (let j = 0; j < codes.length; j++) if ((codes[j] as number) >= 0) codes[j] = rank[codes[j] as number] as number;
  const names = [...places.keys()];
  return {
    kind: "category",
    codes,
    names: order.map((place) => names[place] as string),
    colors: order.slice(0, NUM_COLORS).map((_, place) => categoryColor(place)),
    counts: order.map((place) => counts[place] as number),
  };
}
