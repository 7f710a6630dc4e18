import { columnFromArray, dictionary, float32, int32, tableFromColumns, tableToIPC, uint32, utf8 } from "@uwdata/flechette";
import { expect, test } from "vitest";
import { numberColor, OTHER, rgbOf } from "../src/color";
import { everyNth } from "../src/map/few";
import { legendPlace, paint } from "../src/map/paint";
import { type Categories, type Numbers, readPoints } from "../src/map/points";
import { viewOf } from "../src/map/view";

const X = [0, 1, 2, 3];

function stream(extra: Record<string, unknown[]>, type: unknown): ArrayBuffer {
  const columns = {
    x: columnFromArray(X, float32()),
    y: columnFromArray([4, 5, 6, 7], float32()),
    row: columnFromArray([9, 8, 7, 6], uint32()),
    ...Object.fromEntries(Object.entries(extra).map(([name, values]) => [name, columnFromArray(values, type as never)])),
  };
  const bytes = tableToIPC(tableFromColumns(columns as never), { format: "stream" }) as Uint8Array;
  return bytes.slice().buffer as ArrayBuffer;
}

test("positions are x and y in turn, rows as they came", () => {
  const points = readPoints(stream({}, utf8()));
  expect([...points.positions]).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
  expect([...points.rows]).toEqual([9, 8, 7, 6]);
  expect(points.coloring).toBeUndefined();
});

test("categories are numbered by how frequent they are, a missing one is -1", () => {
  const points = readPoints(stream({ kind: ["b", "a", null, "a"] }, dictionary(utf8(), int32())), "kind");
  const coloring = points.coloring as Categories;
  expect(coloring.names).toEqual(["a", "b"]);
  expect(coloring.counts).toEqual([2, 1]);
  expect([...(coloring.codes as Int32Array)]).toEqual([1, 0, -1, 0]);
});

test("numbers keep their values, a missing one is no number", () => {
  const points = readPoints(stream({ year: [1990, null, 2000, 1995] }, float32()), "year");
  const { kind, values, low, high } = points.coloring as Numbers;
  expect(kind).toBe("number");
  expect([...(values as Float32Array)]).toEqual([1990, Number.NaN, 2000, 1995]);
  expect([low, high]).toEqual([1990, 2000]);
});

test("the types of a map of all are categories", () => {
  const points = readPoints(stream({ type: ["person", "movie", "person", "person"] }, dictionary(utf8(), int32())));
  expect(points.types?.names).toEqual(["person", "movie"]);
});

test("a stream without positions is refused by the name of what is missing", () => {
  const bytes = tableToIPC(tableFromColumns({ x: columnFromArray(X, float32()) }), { format: "stream" }) as Uint8Array;
  expect(() => readPoints(bytes.slice().buffer as ArrayBuffer)).toThrow("no column y");
});

const categories: Categories = {
  kind: "category",
  codes: [0, 1, 2, -1],
  names: ["a", "b", "c"],
  counts: [1, 1, 1],
  colors: [rgbOf("#010203"), rgbOf("#040506")],
};

test("a category has its color, one beyond the colors and one without a value the color of the rest", () => {
  const bytes = paint(4, categories, new Set(), 200, OTHER);
  expect([...bytes.subarray(0, 8)]).toEqual([1, 2, 3, 200, 4, 5, 6, 200]);
  expect([...bytes.subarray(8)]).toEqual([...OTHER, 200, ...OTHER, 70]);
});

test("what the legend hides cannot be seen", () => {
  const bytes = paint(4, categories, new Set([1, 2, -1]), 200, OTHER);
  expect([0, 1, 2, 3].map((point) => bytes[4 * point + 3])).toEqual([200, 0, 0, 0]);
  expect([0, 1, 2, 3].map((point) => legendPlace(categories, point))).toEqual([0, 1, 2, -1]);
});

test("numbers go along the scale and stop at its ends", () => {
  const numbers: Numbers = { kind: "number", values: [-5, 0, 10, 99], low: 0, high: 10 };
  const bytes = paint(4, numbers, new Set(), 255, OTHER);
  const colors = [0, 1, 2, 3].map((point) => [...bytes.subarray(4 * point, 4 * point + 3)]);
  expect(colors).toEqual([numberColor(0), numberColor(0), numberColor(1), numberColor(1)]);
});

test("one color for all where nothing is to be told apart", () => {
  expect([...paint(1, undefined, new Set(), 9, [1, 2, 3])]).toEqual([1, 2, 3, 9]);
});

test("every n-th point keeps all numbers of a point together", () => {
  expect([...everyNth(new Float32Array([0, 1, 10, 11, 20, 21, 30, 31, 40, 41]), 2, 2)]).toEqual([0, 1, 20, 21]);
  expect([...everyNth(new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]), 4, 1)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test("the whole view holds every point, the first one not those far out", () => {
  const positions = Float32Array.from({ length: 200 }, (_, i) => (i === 198 ? 1e6 : i % 10));
  const whole = viewOf(positions, 100, 50, 0);
  expect(whole?.target[0]).toBeCloseTo(5e5, -1);
  expect(2 ** (whole?.zoom ?? 0)).toBeCloseTo((0.92 * 100) / 1e6, 6);
  const first = viewOf(positions, 100, 50, 0.025);
  expect(first?.target[0]).toBeCloseTo(4, 0);
  expect(viewOf(new Float32Array(), 100, 50, 0)).toBeUndefined();
});
