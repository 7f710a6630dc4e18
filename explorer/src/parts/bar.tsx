/** A number as a bar with the number beside it. */

interface BarProps {
  share: number; // of the bar's whole length, 0 to 1
  text: string;
  color?: string;
}

export const Bar = ({ share, text, color }: BarProps) => (
  <span class="bar">
    <span class="track" aria-hidden="true">
      <span style={{ width: `${100 * Math.min(Math.max(share, 0), 1)}%`, background: color }} />
    </span>
    <span class="value">{text}</span>
  </span>
);
