/** The color of each point, as bytes for the graphics card. */

import { numberColor, OTHER, type Rgb } from "../color";
import type { Categories, Coloring } from "./points";

const NUM_STEPS = 256; // of the scale of numbers
const FAINT = 0.35; // of the opacity, for points without a value

/** A point's place in the legend: -1 without a value; the categories after the last color share one. */
export const legendPlace = ({ codes, colors }: Categories, point: number) =>
  Math.min(codes[point] as number, colors.length);

/**
 * Args:
 *   coloring: of N points; without one, all are of color `plain`.
 *   hidden: places of the legend that are switched off.
 *   opacity: 0 to 255.
 * Returns: [4N] red, green, blue, opacity.
 */
export function paint(
  length: number,
  coloring: Coloring | undefined,
  hidden: ReadonlySet<number>,
  opacity: number,
  plain: Rgb,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 * length);
  const words = new Uint32Array(bytes.buffer);
  const missing = word(OTHER, hidden.has(-1) ? 0 : opacity * FAINT);
  if (!coloring) return words.fill(word(plain, opacity)), bytes;
  if (coloring.kind === "category") {
    const colors = [...coloring.colors, OTHER].map((color, place) => word(color, hidden.has(place) ? 0 : opacity));
    for (let i = 0; i < length; i++) {
      const place = legendPlace(coloring, i);
      words[i] = place < 0 ? missing : (colors[place] as number);
    }
    return bytes;
  }
  const colors = Uint32Array.from({ length: NUM_STEPS }, (_, step) => word(numberColor(step / (NUM_STEPS - 1)), opacity));
  const scale = (NUM_STEPS - 1) / (coloring.high - coloring.low || 1);
  for (let i = 0; i < length; i++) {
    const step = ((coloring.values[i] as number) - coloring.low) * scale;
    words[i] = Number.isFinite(step) ? (colors[Math.min(Math.max(Math.round(step), 0), NUM_STEPS - 1)] as number) : missing;
  }
  return bytes;
}

/** Four bytes as one number; every browser's machine writes the lowest first. */
const word = ([red, green, blue]: Rgb, opacity: number) =>
  ((Math.round(opacity) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
