/** Colors of the types, of categories and of numbers, the same in lists, in the legend and on the map. */

export type Rgb = [number, number, number];

// Told apart also by people who see fewer colors; readable as dots on white and on black.
const PALETTE = [
  "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#3fa7a0", "#c99a12", "#e377a8", "#9c755f", "#7f8ca3",
] as const; // prettier-ignore
export const NUM_COLORS = PALETTE.length;
export const OTHER: Rgb = [142, 150, 162];

// Viridis at six places, from low to high; linear between them.
const SCALE: Rgb[] = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]];

export function rgbOf(hex: string): Rgb {
  const value = Number.parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

export const cssOf = ([red, green, blue]: Rgb) => `rgb(${red} ${green} ${blue})`;

/** The color of the category that is number `position` by frequency; the rest share one. */
export const categoryColor = (position: number): Rgb =>
  position < NUM_COLORS ? rgbOf(PALETTE[position] as string) : OTHER;

/** The color of a type: its place in the config, taken round. */
export const typeColor = (types: readonly { name: string }[], type: string): Rgb => {
  const position = types.findIndex(({ name }) => name === type);
  return position < 0 ? OTHER : rgbOf(PALETTE[position % NUM_COLORS] as string);
};

/** The color of a number at `share` of its range, 0 to 1. */
export function numberColor(share: number): Rgb {
  if (!Number.isFinite(share)) return OTHER;
  const place = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1);
  const below = Math.min(Math.floor(place), SCALE.length - 2);
  const [from, to] = [SCALE[below] as Rgb, SCALE[below + 1] as Rgb];
  return from.map((start, channel) =>
    Math.round(start + (place - below) * ((to[channel] as number) - start)),
  ) as Rgb;
}

export const scaleGradient = () => `linear-gradient(to right, ${SCALE.map(cssOf).join(", ")})`;
