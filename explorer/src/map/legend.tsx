/** What the colors of the map mean. A category is switched off and on by a click. */

import { cssOf, OTHER, scaleGradient } from "../color";
import { compact, label, plain } from "../format";
import type { Categories, Coloring } from "./points";

interface LegendProps {
  coloring: Coloring;
  hidden: ReadonlySet<number>;
  toggle: (place: number) => void;
}

export function Legend({ coloring, hidden, toggle }: LegendProps) {
  if (coloring.kind === "number") {
    return (
      <div class="legend">
        <div class="gradient" style={{ background: scaleGradient() }} aria-hidden="true" />
        <p class="ends">
          <span>{plain(coloring.low)}</span>
          <span>{plain(coloring.high)}</span>
        </p>
      </div>
    );
  }
  return (
    <ul class="legend plain">
      {entriesOf(coloring).map(({ place, name, size }) => (
        <li key={place}>
          <button type="button" aria-pressed={!hidden.has(place)} onClick={() => toggle(place)}>
            <span class="dot" style={{ background: cssOf(coloring.colors[place] ?? OTHER) }} aria-hidden="true" />
            <span class="name">{name}</span> <span class="soft">{compact(size)}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

function entriesOf({ names, counts, codes, colors }: Categories): { place: number; name: string; size: number }[] {
  const entries = colors.map((_, place) => ({ place, name: label(names[place] as string), size: counts[place] as number }));
  const sum = (sizes: number[]) => sizes.reduce((total, size) => total + size, 0);
  const rest = names.length - colors.length;
  if (rest > 0) entries.push({ place: colors.length, name: `${compact(rest)} others`, size: sum(counts.slice(colors.length)) });
  const missing = codes.length - sum(counts);
  if (missing > 0) entries.push({ place: -1, name: "no value", size: missing });
  return entries;
}
