/** Numbers and values as people read them. */

import type { Value } from "./api";

const LOCALE = "en";
const whole = new Intl.NumberFormat(LOCALE);
const short = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumSignificantDigits: 3 });

export const count = (value: number) => whole.format(value);

export const compact = (value: number) => short.format(value);

export function decimal(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return value.toFixed(digits).replace("-", "−");
}

/** A number of a column: years and counts as they are, others with few digits. */
export function plain(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

export const percent = (value: number, digits = 1) => `${(100 * value).toFixed(digits)}%`;

export function isEmpty(value: Value | undefined): boolean {
  return value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0);
}

export function valueText(value: Value): string {
  if (Array.isArray(value)) return value.map((part) => valueText(part)).join(", ");
  return typeof value === "number" ? plain(value) : String(value);
}

/** A message of the service, which begins small and has no full stop, as a sentence. */
export function sentence(text: string): string {
  const begun = text.slice(0, 1).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** A name of a config as a label: `content_rating` becomes `content rating`. */
export const label = (name: string) => name.replaceAll("_", " ");
