/** Where the map stands at first, and when all is to be seen. */

const MARGIN = 0.92; // of the canvas that the points fill
const NUM_SAMPLED = 20_000;

export interface View {
  target: [number, number, number];
  zoom: number; // pixels per unit, as a power of two
}

/**
 * The view that shows the points of a map, but for a share at each side.
 *
 * Args:
 *   positions: [2N] x and y in turn.
 *   outliers: 0 shows all. Projections leave a few points far out, beside which the rest would be a dot.
 */
export function viewOf(positions: Float32Array, width: number, height: number, outliers: number): View | undefined {
  if (!positions.length || !width || !height) return undefined;
  const [left, right] = rangeOf(positions, 0, outliers);
  const [bottom, top] = rangeOf(positions, 1, outliers);
  const zoom = Math.log2(MARGIN * Math.min(width / (right - left), height / (top - bottom)));
  return { target: [(left + right) / 2, (bottom + top) / 2, 0], zoom };
}

function rangeOf(positions: Float32Array, axis: 0 | 1, outliers: number): [number, number] {
  const step = outliers ? Math.max(1, Math.floor(positions.length / 2 / NUM_SAMPLED)) : 1;
  let values = new Float32Array(Math.ceil(positions.length / 2 / step));
  for (let i = 0; i < values.length; i++) values[i] = positions[2 * i * step + axis] as number;
  if (outliers) values = values.sort();
  const at = (share: number) => values[Math.round(share * (values.length - 1))] as number;
  let [low, high] = outliers ? [at(outliers), at(1 - outliers)] : [Infinity, -Infinity];
  if (!outliers) for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const beyond = Math.max(outliers * 5 * (high - low), 1e-6); // room for what lies just outside
  return [low - beyond, high + beyond];
}
