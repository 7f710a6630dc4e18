/** The history that the playground recommends for, as it stands in the address. */

import type { Id } from "../api";
import { decoded, hashOf } from "../route";

export interface Step {
  id: string;
  action?: string;
}

export interface History {
  sequence: string;
  user?: string; // a known user's own history; without one, the steps
  steps: Step[]; // from the first to the latest
}

export function readHistory(options: Record<string, string>, sequences: readonly { name: string }[]): History {
  const known = sequences.some(({ name }) => name === options.sequence);
  const steps = (options.events ?? "").split(",").map((text) => {
    const [id = "", action] = text.split(":").map(decoded);
    return { id, action };
  });
  return {
    sequence: known ? (options.sequence as string) : (sequences[0]?.name ?? ""),
    user: options.user,
    steps: options.user ? [] : steps.filter(({ id }) => id !== ""),
  };
}

export function historyHash({ sequence, user, steps }: History): string {
  const parts = steps.map(({ id, action }) => [id, ...(action ? [action] : [])].map(encodeURIComponent).join(":"));
  return hashOf(["users"], { sequence, user, events: user ? undefined : parts.join(",") });
}

/** An action or id of the address as the service knows it: a number where its values are numbers. */
export function likeKnown(text: string | undefined, known: readonly Id[] | undefined): Id | undefined {
  return known?.find((value) => String(value) === text) ?? text;
}
