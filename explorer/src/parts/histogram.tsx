/** A histogram as bars, with its range below; in words for those who do not see it. */

import { compact, plain } from "../format";
import type { HistogramData } from "../pages/report";

interface HistogramProps {
  data: HistogramData;
  name: string; // what is counted along the axis
}

export function Histogram({ data: { edges, counts }, name }: HistogramProps) {
  const most = Math.max(...counts, 1);
  const [low, high] = [edges[0] ?? 0, edges.at(-1) ?? 0];
  const total = counts.reduce((sum, size) => sum + size, 0);
  const described = `${name}: ${compact(total)} between ${plain(low)} and ${plain(high)}`;
  return (
    <figure class="histogram">
      <div class="bars" role="img" aria-label={described}>
        {counts.map((size, bin) => (
          <span
            key={bin}
            style={{ height: `${size ? Math.max(2, (100 * size) / most) : 0}%` }}
            title={`${plain(edges[bin] as number)} to ${plain(edges[bin + 1] as number)}: ${compact(size)}`}
          />
        ))}
      </div>
      <figcaption>
        <span>{plain(low)}</span>
        <span>{name}</span>
        <span>{plain(high)}</span>
      </figcaption>
    </figure>
  );
}
